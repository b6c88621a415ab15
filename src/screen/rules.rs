//! How much an alert matters: a pure function of what was found and of the user's rules, so that the same chain, lists and rules
//! give the same severity on any machine. What only the store or an endpoint knows (a token's symbol, its decimals) is no part of it.

use alloy::primitives::U256;

use super::alert::{Designation, Direction, Severity, TriageClass};
use super::rule_words::{Rule, RuleAsset};
use super::watchlist::ListKind;
use crate::decode::{ActivityKind, Asset};

/// What lists an activity touches, on both of its sides together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Touches {
    /// One of the user's own wallets.
    pub own: bool,
    /// The strictest of all other kinds; none where there is none.
    pub other: Option<ListKind>,
}

impl Touches {
    /// From the kinds of all entries that an activity matched.
    pub fn of(kinds: impl Iterator<Item = ListKind>) -> Self {
        kinds.fold(Self::default(), |sum, kind| match kind {
            ListKind::Own => Self { own: true, ..sum },
            other => Self { other: Some(sum.other.map_or(other, |known| known.min(other))), ..sum },
        })
    }

    /// Nothing but own wallets: no alert.
    pub fn own_alone(self) -> bool {
        self.own && self.other.is_none()
    }
}

/// A matched entry, as far as severity depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryFacts {
    /// Kind of its list.
    pub kind: ListKind,
    /// How the block's time relates to the listing.
    pub designation: Designation,
    /// Which of the lists and programs that rules name are its: [`Rules::marks`].
    pub marks: u64,
}

/// What severity depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// The chain.
    pub chain_id: u64,
    /// The entries of the watched address, strictest first.
    pub entries: &'a [EntryFacts],
    /// What both sides are listed on.
    pub touches: Touches,
    /// Side of the watched address.
    pub direction: Direction,
    /// Kind of movement.
    pub kind: ActivityKind,
    /// What moved.
    pub asset: Asset,
    /// Which one, for ERC-721 and ERC-1155.
    pub token_id: Option<U256>,
    /// How much, in base units.
    pub amount: U256,
    /// Noise or not.
    pub triage: TriageClass,
}

/// A severity and where it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rating {
    /// The severity.
    pub severity: Severity,
    /// What gave it.
    pub by: By,
}

/// What gave a severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// The rule at that place, counted from 0.
    Rule(usize),
    /// No rule fitted: the default, in words.
    Default(&'static str),
}

/// So many different lists and programs may be named by all rules together: each is a bit of an entry's marks.
pub const MOST_NAMES: usize = 64;

/// The user's rules in their order: the first that fits gives the severity, and the defaults where none does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rules {
    rules: Vec<Rule>,
    /// Every list that a rule names, once; then every program, in capitals. The place is the bit.
    lists: Vec<String>,
    programs: Vec<String>,
}

impl Rules {
    /// Rules in the order in which they are tried.
    ///
    /// # Errors
    /// One line, where they name more than [`MOST_NAMES`] lists and programs.
    pub fn new(rules: Vec<Rule>) -> Result<Self, String> {
        let once = |names: &mut Vec<String>| {
            names.sort();
            names.dedup();
        };
        let mut lists: Vec<_> = rules.iter().flat_map(|rule| rule.list.iter().cloned()).collect();
        let mut programs: Vec<_> =
            rules.iter().flat_map(|rule| rule.program.iter().map(|name| name.to_ascii_uppercase())).collect();
        once(&mut lists);
        once(&mut programs);
        if lists.len() + programs.len() > MOST_NAMES {
            return Err(format!(
                "the severity rules name {} lists and programs: at most {MOST_NAMES} can be told apart",
                lists.len() + programs.len()
            ));
        }
        Ok(Self { rules, lists, programs })
    }

    /// As they were given.
    pub fn as_slice(&self) -> &[Rule] {
        &self.rules
    }

    /// Whether there is none, so that the defaults tell.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Lists that rules name; empty where none does.
    pub fn lists(&self) -> &[String] {
        &self.lists
    }

    /// Programs that rules name, in capitals; empty where none does.
    pub fn programs(&self) -> &[String] {
        &self.programs
    }

    /// Which of the named lists and programs an entry has, a bit for each; 0 for most entries.
    pub fn marks<'a>(&self, list: &str, programs: impl Iterator<Item = &'a str>) -> u64 {
        let listed = self.lists.iter().position(|name| name == list).map_or(0, bit);
        programs.fold(listed, |marks, program| marks | self.program_bit(program))
    }

    fn program_bit(&self, program: &str) -> u64 {
        let place = self.programs.iter().position(|name| name.eq_ignore_ascii_case(program));
        place.map_or(0, |place| bit(self.lists.len() + place))
    }

    /// The severity of an alert, by the first rule that fits, else by default.
    pub fn rate(&self, facts: &Facts<'_>) -> Rating {
        match self.rules.iter().position(|rule| self.fits(rule, facts)) {
            Some(place) => Rating { severity: self.rules[place].set, by: By::Rule(place) },
            None => by_default(facts),
        }
    }

    /// All conditions of a rule hold, and those on the entry hold for one and the same entry. A rule that says nothing of triage is about
    /// value only, as queries are: otherwise one on a list would raise the bait.
    fn fits(&self, rule: &Rule, facts: &Facts<'_>) -> bool {
        let triage = if rule.triage.is_empty() {
            facts.triage == TriageClass::Value
        } else {
            rule.triage.contains(&facts.triage)
        };
        triage
            && rule.own.is_none_or(|own| own == facts.touches.own)
            && any(&rule.direction, &facts.direction)
            && any(&rule.kind, &facts.kind)
            && (rule.asset.is_empty() || rule.asset.iter().any(|asset| is_asset(asset, facts)))
            && rule.min_amount.as_ref().is_none_or(|least| least.is_reached(facts.amount, facts.chain_id))
            && facts.entries.iter().any(|entry| self.fits_entry(rule, entry))
    }

    fn fits_entry(&self, rule: &Rule, entry: &EntryFacts) -> bool {
        any(&rule.list_kind, &entry.kind)
            && any(&rule.designation, &entry.designation)
            && (rule.list.is_empty()
                || rule.list.iter().any(|list| entry.marks & self.marks(list, std::iter::empty()) != 0))
            && (rule.program.is_empty()
                || rule.program.iter().any(|program| entry.marks & self.program_bit(program) != 0))
    }
}

fn bit(place: usize) -> u64 {
    1 << place
}

/// Whether it is among the wanted; nothing wanted is anything.
fn any<T: PartialEq>(wanted: &[T], found: &T) -> bool {
    wanted.is_empty() || wanted.contains(found)
}

fn is_asset(wanted: &RuleAsset, facts: &Facts<'_>) -> bool {
    match wanted {
        RuleAsset::Native(chain) => chain.is_none_or(|id| id == facts.chain_id) && facts.asset == Asset::Native,
        RuleAsset::Contract { chain, contract, token_id, .. } => {
            chain.is_none_or(|id| id == facts.chain_id)
                && facts.asset.contract() == Some(*contract)
                && token_id.is_none_or(|id| facts.token_id == Some(id))
        }
    }
}

/// Own wallets and blocked ones at once is severe on both sides; else the strictest list of the watched address tells, and what is no
/// value is low. An own wallet takes the severity of the other side: by itself it has none.
fn by_default(facts: &Facts<'_>) -> Rating {
    let rating = |severity, why| Rating { severity, by: By::Default(why) };
    match facts.triage {
        TriageClass::Value => {}
        TriageClass::Own => return rating(Severity::Low, "it touches own wallets and nothing else: no alert"),
        _ => return rating(Severity::Low, "noise is low"),
    }
    if facts.touches.own && facts.touches.other == Some(ListKind::Blocking) {
        return rating(Severity::Severe, "an own wallet and a blocking entry at once");
    }
    let strictest = facts.entries.first().map(|entry| entry.kind).filter(|kind| *kind != ListKind::Own);
    match strictest.or(facts.touches.other) {
        Some(ListKind::Blocking) => rating(Severity::High, "the strictest list is of the kind blocking"),
        Some(ListKind::IssuerFreeze) => rating(Severity::Medium, "the strictest list is of the kind issuer-freeze"),
        Some(ListKind::Advisory) => rating(Severity::Medium, "the strictest list is of the kind advisory"),
        Some(ListKind::Internal) => rating(Severity::Medium, "the strictest list is of the kind internal"),
        Some(ListKind::Own) | None => rating(Severity::Low, "own wallets have no severity of their own"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloy::primitives::Address;

    const TOKEN: Address = Address::repeat_byte(0x11);

    /// Rules as JSON has them, which are those of bolo.toml.
    fn rules(json: serde_json::Value) -> Rules {
        Rules::new(serde_json::from_value(json).unwrap()).unwrap()
    }

    fn entry(kind: ListKind, designation: Designation, marks: u64) -> EntryFacts {
        EntryFacts { kind, designation, marks }
    }

    /// 5 units of a token out of an address on the blocking list "sdn" with the program DPRK3, to an own wallet.
    fn facts<'a>(rules: &Rules, entries: &'a mut Vec<EntryFacts>) -> Facts<'a> {
        let marks = rules.marks("sdn", ["DPRK3"].into_iter());
        *entries = vec![
            entry(ListKind::Blocking, Designation::Before, marks),
            entry(ListKind::Internal, Designation::Listed, rules.marks("cases", std::iter::empty())),
        ];
        Facts {
            chain_id: 1,
            entries,
            touches: Touches { own: true, other: Some(ListKind::Blocking) },
            direction: Direction::Out,
            kind: ActivityKind::Erc20Transfer,
            asset: Asset::Erc20(TOKEN),
            token_id: None,
            amount: U256::from(5),
            triage: TriageClass::Value,
        }
    }

    /// Whether a rule with these conditions fits.
    fn fits(mut rule: serde_json::Value, change: impl Fn(&mut Facts<'_>)) -> bool {
        rule["set"] = "medium".into();
        let rules = rules(serde_json::json!([rule]));
        let mut entries = Vec::new();
        let mut facts = facts(&rules, &mut entries);
        change(&mut facts);
        rules.rate(&facts) == Rating { severity: Severity::Medium, by: By::Rule(0) }
    }

    #[test]
    fn each_condition_lets_through_what_fits_and_nothing_else() {
        use serde_json::json;
        let token = TOKEN.to_string();
        let caip = |chain: u64| format!("eip155:{chain}/erc20:{token}");
        for (yes, no) in [
            (json!({"list": "sdn"}), json!({"list": "other"})),
            (json!({"list": ["other", "cases"]}), json!({"list": ["SDN"]})),
            (json!({"list_kind": ["advisory", "blocking"]}), json!({"list_kind": "advisory"})),
            (json!({"program": "dprk3"}), json!({"program": "DPRK"})),
            (json!({"designation": "before"}), json!({"designation": ["after", "unknown"]})),
            (json!({"direction": "out"}), json!({"direction": ["in", "self", "party"]})),
            (json!({"kind": "erc20_transfer"}), json!({"kind": "native_transfer"})),
            (json!({"asset": token}), json!({"asset": "native"})),
            (json!({"asset": caip(1)}), json!({"asset": caip(5)})),
            (json!({"asset": token, "min_amount": "5"}), json!({"asset": token, "min_amount": "6"})),
            (json!({"own": true}), json!({"own": false})),
            (json!({"triage": "value"}), json!({"triage": ["zero_value", "own"]})),
            (json!({"list": "sdn", "designation": "before"}), json!({"list": "cases", "designation": "before"})),
            (json!({"list": "sdn", "program": "DPRK3"}), json!({"list": "cases", "program": "DPRK3"})),
            (json!({}), json!({"list": "sdn", "direction": "in"})),
        ] {
            assert!(fits(yes.clone(), |_| {}), "{yes}");
            assert!(!fits(no.clone(), |_| {}), "{no}");
        }
    }

    #[test]
    fn ether_tokens_and_ids_are_told_apart() {
        use serde_json::json;
        let ether = |rule| fits(rule, |facts| facts.asset = Asset::Native);
        assert!(ether(json!({"asset": "native"})) && ether(json!({"asset": "eip155:1/slip44:60"})));
        assert!(!ether(json!({"asset": "eip155:5/slip44:60"})) && !ether(json!({"asset": TOKEN.to_string()})));
        let wei = |wei: u64| {
            fits(json!({"asset": "native", "min_amount": "1.5"}), |facts| {
                (facts.asset, facts.amount) = (Asset::Native, U256::from(wei));
            })
        };
        assert!(wei(1_500_000_000_000_000_000) && !wei(1_499_999_999_999_999_999));
        let nft = |id: u64| {
            fits(json!({"asset": format!("eip155:1/erc721:{TOKEN}/7")}), |facts| {
                (facts.asset, facts.token_id) = (Asset::Erc721(TOKEN), Some(U256::from(id)));
            })
        };
        assert!(nft(7) && !nft(8));
    }

    #[test]
    fn a_rule_without_triage_leaves_noise_and_own_wallets_alone_as_they_are() {
        use serde_json::json;
        for class in [TriageClass::ZeroValue, TriageClass::Own] {
            assert!(!fits(json!({"list": "sdn"}), |facts| facts.triage = class));
            assert!(fits(json!({"list": "sdn", "triage": class.name()}), |facts| facts.triage = class));
        }
    }

    #[test]
    fn the_first_rule_that_fits_tells_and_the_defaults_where_none_does() {
        let rules = rules(serde_json::json!([
            {"set": "low", "list": "cases", "direction": "in"},
            {"set": "medium", "designation": "before"},
            {"set": "high", "list": "sdn"},
        ]));
        let mut entries = Vec::new();
        let mut facts = facts(&rules, &mut entries);
        assert_eq!(rules.rate(&facts), Rating { severity: Severity::Medium, by: By::Rule(1) });
        facts.direction = Direction::In;
        assert_eq!(rules.rate(&facts), Rating { severity: Severity::Low, by: By::Rule(0) });
        let none = Rules::default().rate(&facts);
        assert_eq!((none.severity, matches!(none.by, By::Default(_))), (Severity::Severe, true));
    }

    #[test]
    fn no_more_names_than_there_are_bits_and_each_has_its_own() {
        let rule = |lists: usize| {
            let lists: Vec<_> = (0..lists).map(|place| format!("list {place}")).collect();
            Rules::new(vec![serde_json::from_value(serde_json::json!({"set": "low", "list": lists})).unwrap()])
        };
        let all = rule(64).unwrap();
        let marks: std::collections::BTreeSet<_> =
            all.lists().iter().map(|list| all.marks(list, std::iter::empty())).collect();
        assert!(marks.len() == 64 && !marks.contains(&0));
        assert!(rule(65).unwrap_err().contains("at most 64"));
    }
}
