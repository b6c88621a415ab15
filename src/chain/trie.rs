//! The root of an ordered trie (Yellow Paper, appendix D): what a header says of its transactions and receipts.
//!
//! The same root as alloy's `ordered_trie_root_encoded`, in another order of work: the shape of the trie follows from the number
//! of items alone, so all leaves are hashed together, then all nodes above leaves only, and so on up. See [`super::keccak`].

use std::ops::Range;

use alloy::consensus::EMPTY_ROOT_HASH;
use alloy::primitives::{B256, Bytes};
use alloy::rlp::{Encodable, Header};
use alloy::trie::root::adjust_index_for_rlp;

use super::keccak::{Message, keccak_all};

/// The root of items whose keys are the RLP of their places.
pub fn ordered_root<T: AsRef<[u8]>>(items: &[T]) -> B256 {
    if items.is_empty() {
        return EMPTY_ROOT_HASH;
    }
    let keys = keys(items.len());
    let (shape, top) = Shape::of(&keys);
    shape.names(top, items).1
}

/// The nodes on the paths to the wanted items, from the root down and left to right. A node of less than 32 bytes stands within the
/// one above it and is left out, unless it is the root.
pub(super) fn nodes_towards<T: AsRef<[u8]>>(items: &[T], wanted: impl Fn(usize) -> bool) -> Vec<Bytes> {
    if items.is_empty() {
        return Vec::new();
    }
    let keys = keys(items.len());
    let (shape, top) = Shape::of(&keys);
    let mut places = Vec::new();
    if !shape.lead(top, &wanted, &mut places) {
        return Vec::new();
    }
    let (named, _) = shape.names(top, items);
    let bytes = places.into_iter().map(|place| {
        let (node, mut bytes) = (&shape.nodes[place as usize], Vec::new());
        shape.write(node, items, &named, &mut bytes);
        bytes.extend_from_slice(shape.body(node, items));
        (place, bytes)
    });
    bytes.filter(|(place, bytes)| *place == top || bytes.len() >= 32).map(|(_, bytes)| bytes.into()).collect()
}

/// The keys of so many items, sorted.
fn keys(count: usize) -> Vec<Key> {
    (0..count).map(|place| Key::of(adjust_index_for_rlp(place, count))).collect()
}

/// The nibbles of an item's key, and which item it is.
#[derive(Debug, Clone, Copy)]
struct Key {
    nibbles: [u8; LONGEST],
    length: u8,
    item: usize,
}

/// RLP of a 64-bit number: nine bytes at most.
const LONGEST: usize = 18;

impl Key {
    fn of(item: usize) -> Self {
        let bytes = alloy::rlp::encode_fixed_size(&(item as u64));
        let mut nibbles = [0; LONGEST];
        for (pair, byte) in nibbles.chunks_exact_mut(2).zip(bytes.iter()) {
            pair.copy_from_slice(&[byte >> 4, byte & 0xf]);
        }
        Self { nibbles, length: 2 * bytes.len() as u8, item }
    }

    fn from(&self, depth: u8) -> &[u8] {
        &self.nibbles[usize::from(depth)..usize::from(self.length)]
    }

    fn at(&self, depth: u8) -> usize {
        usize::from(self.nibbles[usize::from(depth)])
    }
}

/// Keys and nodes are named by their places.
#[derive(Debug)]
enum Node {
    Leaf { key: u32, depth: u8 },
    Branch { children: [u32; 16] },
    Extension { key: u32, depth: u8, shared: u8, child: u32 },
}

/// A branch has nothing there.
const NOTHING: u32 = u32::MAX;

/// Nodes by how far they stand above the lowest leaf below them: whatever one names stands lower.
#[derive(Debug)]
struct Shape<'k> {
    keys: &'k [Key],
    nodes: Vec<Node>,
    heights: Vec<Vec<u32>>,
}

impl<'k> Shape<'k> {
    /// The shape, and its root's place; there is a key.
    fn of(keys: &'k [Key]) -> (Self, u32) {
        let mut shape = Self { keys, nodes: Vec::with_capacity(keys.len() * 9 / 8 + 4), heights: Vec::new() };
        let (top, _) = shape.grow(0..keys.len(), 0);
        (shape, top)
    }

    /// Puts down the nodes that lead to wanted items from there; false where none does.
    fn lead(&self, place: u32, wanted: &impl Fn(usize) -> bool, out: &mut Vec<u32>) -> bool {
        let before = out.len();
        out.push(place);
        let leads = match &self.nodes[place as usize] {
            Node::Leaf { key, .. } => wanted(self.keys[*key as usize].item),
            Node::Extension { child, .. } => self.lead(*child, wanted, out),
            Node::Branch { children } => {
                let mut any = false;
                for child in children.iter().filter(|child| **child != NOTHING) {
                    any |= self.lead(*child, wanted, out);
                }
                any
            }
        };
        if !leads {
            out.truncate(before);
        }
        leads
    }

    /// What of a node's RLP is an item as it is.
    fn body<'i, T: AsRef<[u8]>>(&self, node: &Node, items: &'i [T]) -> &'i [u8] {
        match node {
            Node::Leaf { key, .. } => items[self.keys[*key as usize].item].as_ref(),
            _ => &[],
        }
    }

    /// The node above those keys, which are sorted and the same up to that depth, and its height.
    fn grow(&mut self, range: Range<usize>, depth: u8) -> (u32, usize) {
        let keys = self.keys;
        let (first, last) = (&keys[range.start], &keys[range.end - 1]);
        if range.len() == 1 {
            return self.put(Node::Leaf { key: range.start as u32, depth }, 0);
        }
        // No key begins with all of another, and they are sorted: what the first and the last share, all share.
        let pairs = first.from(depth).iter().zip(last.from(depth));
        let shared = pairs.take_while(|(one, other)| one == other).count() as u8;
        if shared > 0 {
            let key = range.start as u32;
            let (child, height) = self.grow(range, depth + shared);
            return self.put(Node::Extension { key, depth, shared, child }, height + 1);
        }
        let mut children = [NOTHING; 16];
        let (mut start, mut height) = (range.start, 0);
        while start < range.end {
            let nibble = keys[start].at(depth);
            let end = start + keys[start..range.end].partition_point(|key| key.at(depth) == nibble);
            let (child, of_child) = self.grow(start..end, depth + 1);
            children[nibble] = child;
            height = height.max(of_child + 1);
            start = end;
        }
        self.put(Node::Branch { children }, height)
    }

    fn put(&mut self, node: Node, height: usize) -> (u32, usize) {
        let place = self.nodes.len() as u32;
        self.nodes.push(node);
        if self.heights.len() <= height {
            self.heights.resize_with(height + 1, Vec::new);
        }
        self.heights[height].push(place);
        (place, height)
    }

    /// How each node is named by the one above, and the hash of the root.
    fn names<T: AsRef<[u8]>>(&self, top: u32, items: &[T]) -> (Vec<Named>, B256) {
        let mut named = vec![Named::NOT_YET; self.nodes.len()];
        let mut root = B256::ZERO;
        for level in &self.heights {
            let mut written = Vec::with_capacity(level.len() * 16);
            let mut ends = Vec::with_capacity(level.len());
            for place in level {
                self.write(&self.nodes[*place as usize], items, &named, &mut written);
                ends.push(written.len());
            }
            let starts = [0].into_iter().chain(ends.iter().copied());
            let messages: Vec<Message<'_>> = (level.iter().zip(starts).zip(&ends))
                .map(|((place, start), end)| Message {
                    head: &written[start..*end],
                    body: self.body(&self.nodes[*place as usize], items),
                })
                .collect();
            for ((place, message), hash) in level.iter().zip(&messages).zip(keccak_all(&messages)) {
                named[*place as usize] = Named::of(message, hash);
                if *place == top {
                    root = hash;
                }
            }
        }
        (named, root)
    }

    /// A node's RLP; of a leaf, all that stands before its item.
    fn write<T: AsRef<[u8]>>(&self, node: &Node, items: &[T], named: &[Named], out: &mut Vec<u8>) {
        match node {
            Node::Leaf { key, depth } => {
                let key = &self.keys[*key as usize];
                let path = Path::of(key.from(*depth), true);
                let item = items[key.item].as_ref();
                list(path.bytes().length() + item.length(), out);
                path.bytes().encode(out);
                // A single byte below 0x80 is its own RLP.
                if item.len() != 1 || item[0] >= 0x80 {
                    Header { list: false, payload_length: item.len() }.encode(out);
                }
            }
            Node::Extension { key, depth, shared, child } => {
                let path = Path::of(&self.keys[*key as usize].from(*depth)[..usize::from(*shared)], false);
                let child = named[*child as usize].bytes();
                list(path.bytes().length() + child.len(), out);
                path.bytes().encode(out);
                out.extend_from_slice(child);
            }
            Node::Branch { children } => {
                let names =
                    || children.iter().map(|child| named.get(*child as usize).map_or(&[0x80][..], Named::bytes));
                list(names().map(<[u8]>::len).sum::<usize>() + 1, out);
                names().for_each(|name| out.extend_from_slice(name));
                // No key ends at a branch.
                out.push(0x80);
            }
        }
    }
}

/// How the node above names one: by its hash, or as it is where it has less than 32 bytes. RLP either way.
#[derive(Debug, Clone, Copy)]
struct Named {
    bytes: [u8; 33],
    length: u8,
}

impl Named {
    const NOT_YET: Self = Self { bytes: [0; 33], length: 0 };

    fn of(node: &Message<'_>, hash: B256) -> Self {
        let (head, length) = (node.head.len(), node.head.len() + node.body.len());
        let mut bytes = [0; 33];
        if length < 32 {
            bytes[..head].copy_from_slice(node.head);
            bytes[head..length].copy_from_slice(node.body);
            return Self { bytes, length: length as u8 };
        }
        bytes[0] = 0x80 + 32;
        bytes[1..].copy_from_slice(hash.as_slice());
        Self { bytes, length: 33 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

fn list(payload_length: usize, out: &mut Vec<u8>) {
    Header { list: true, payload_length }.encode(out);
}

/// Nibbles packed with a flag before them (Yellow Paper, appendix C).
struct Path {
    bytes: [u8; LONGEST / 2 + 1],
    length: usize,
}

impl Path {
    fn of(nibbles: &[u8], leaf: bool) -> Self {
        let flag = if leaf { 0x20 } else { 0 };
        let odd = nibbles.len() % 2;
        let mut bytes = [0; LONGEST / 2 + 1];
        bytes[0] = if odd == 1 { flag | 0x10 | nibbles[0] } else { flag };
        for (byte, pair) in bytes[1..].iter_mut().zip(nibbles[odd..].chunks_exact(2)) {
            *byte = pair[0] << 4 | pair[1];
        }
        Self { bytes, length: 1 + nibbles.len() / 2 }
    }

    fn bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

#[cfg(test)]
mod tests {
    use alloy::trie::proof::ProofRetainer;
    use alloy::trie::root::ordered_trie_root_encoded;
    use alloy::trie::{HashBuilder, Nibbles};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_number_of_items_has_the_root_that_alloy_computes() {
        let item = |index: usize| vec![index as u8; 20 + index * 37 % 300];
        let items: Vec<Vec<u8>> = (0..300).map(item).collect();
        for count in (0..40).chain(120..150).chain(250..276) {
            assert_eq!(ordered_root(&items[..count]), ordered_trie_root_encoded(&items[..count]), "{count} items");
        }
        // Around where a key takes another byte.
        let items: Vec<Vec<u8>> = (0..65_537).map(|index| vec![index as u8; 4]).collect();
        for count in [4_096, 4_097, 65_537] {
            assert_eq!(ordered_root(&items[..count]), ordered_trie_root_encoded(&items[..count]), "{count} items");
        }
    }

    /// As alloy's builder finds them.
    fn retained(items: &[Vec<u8>], wanted: impl Fn(usize) -> bool) -> Vec<Bytes> {
        let key = |index: usize| Nibbles::unpack(alloy::rlp::encode_fixed_size(&index));
        let targets: Vec<_> = (0..items.len()).filter(|index| wanted(*index)).map(key).collect();
        if targets.is_empty() {
            return Vec::new();
        }
        let mut builder = HashBuilder::default().with_proof_retainer(ProofRetainer::new(targets));
        for place in 0..items.len() {
            let index = adjust_index_for_rlp(place, items.len());
            builder.add_leaf(key(index), &items[index]);
        }
        builder.root();
        let nodes = builder.take_proof_nodes().into_nodes_sorted();
        nodes.into_iter().filter(|(path, node)| path.is_empty() || node.len() >= 32).map(|(_, node)| node).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        /// Items of a few bytes stand whole in the node above, and so may nodes of such.
        #[test]
        fn items_of_any_length_have_the_root_that_alloy_computes(
            items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..300)
        ) {
            prop_assert_eq!(ordered_root(&items), ordered_trie_root_encoded(&items));
        }

        #[test]
        fn the_nodes_towards_some_items_are_those_that_alloy_retains(
            items in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..300),
            every in 1usize..70,
            all in any::<bool>(),
        ) {
            let wanted = |index: usize| all || index % every == every / 2;
            prop_assert_eq!(nodes_towards(&items, wanted), retained(&items, wanted));
        }
    }
}
