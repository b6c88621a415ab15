//! What a proven block cannot cost less than, each on its own: CPU milliseconds per block.

use std::hint::black_box;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use alloy::consensus::transaction::SignerRecoverable;
use alloy::trie::root::ordered_trie_root_encoded;

use crate::chain::Chain;
use crate::cpu;
use crate::http;
use crate::rpc::Node;
use crate::subject::Subject;

/// Least time that each is measured for.
const AT_LEAST: Duration = Duration::from_millis(700);

type Work = Box<dyn FnMut(&Subject)>;

/// All of them by name; `chain` is the one that the subjects are of.
pub(crate) fn floors(chain: Chain) -> [(&'static str, Work); 5] {
    [
        (
            "transactions_root",
            Box::new(|s| {
                black_box(ordered_trie_root_encoded(&s.transactions));
            }),
        ),
        (
            "receipts_root",
            Box::new(|s| {
                black_box(ordered_trie_root_encoded(&s.receipts_encoded));
            }),
        ),
        ("pass", Box::new(quotes)),
        ("receiving", receiving(chain)),
        ("senders", Box::new(recover)),
    ]
}

/// For scripts. Without a framework: each is to be short, since it is measured between the runs that it is compared with, on all cores.
pub(crate) fn to_json(chain: Chain) -> String {
    let subjects = Subject::all(&chain);
    let measured: Vec<_> = floors(chain).into_iter().map(|(name, work)| (name, per_item(&subjects, work))).collect();
    let mut all: serde_json::Map<_, _> = measured.iter().map(|(name, ms)| ((*name).to_owned(), (*ms).into())).collect();
    let sum: f64 = measured.iter().filter(|(name, _)| *name != "senders").map(|(_, ms)| ms).sum();
    all.insert("sum".to_owned(), sum.into());
    serde_json::Value::from(all).to_string()
}

/// Milliseconds per item: the median of going through all of them again and again.
fn per_item<T>(items: &[T], mut work: impl FnMut(&T)) -> f64 {
    let clock = Instant::now();
    let mut passes = Vec::new();
    while clock.elapsed() < AT_LEAST || passes.len() < 5 {
        let begin = cpu();
        items.iter().for_each(&mut work);
        passes.push(cpu() - begin);
    }
    passes.sort_unstable();
    let micros = u32::try_from(passes[passes.len() / 2] / 1_000).unwrap();
    f64::from(micros) / 1_000.0 / f64::from(u32::try_from(items.len()).unwrap())
}

fn recover(subject: &Subject) {
    for tx in &subject.envelopes {
        black_box(tx.recover_signer_unchecked().unwrap());
    }
}

/// The cheapest reading there is: one comparison for each byte, many at once.
fn quotes(subject: &Subject) {
    let of_chunk = |chunk: &[u8]| usize::from(chunk.iter().map(|byte| u8::from(*byte == b'"')).sum::<u8>());
    black_box(subject.texts().into_iter().map(|text| text.chunks(192).map(of_chunk).sum::<usize>()).sum::<usize>());
}

/// A client that asks and reads, and does nothing with what it reads: bare HTTP over loopback.
fn receiving(chain: Chain) -> Work {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let last = chain.last();
    let node = Arc::new(Node::new(chain, last, false));
    std::thread::spawn(move || http::serve(&listener, &node, Duration::ZERO));
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_nodelay(true).unwrap();
    let mut buffer = vec![0; 4 << 20];
    Box::new(move |subject| {
        for (method, more) in [("eth_getBlockByNumber", ",true"), ("eth_getBlockReceipts", "")] {
            let number = subject.number;
            let body = format!(r#"{{"jsonrpc":"2.0","id":1,"method":"{method}","params":["{number:#x}"{more}]}}"#);
            let head = format!("POST / HTTP/1.1\r\nHost: bench\r\nContent-Length: {}\r\n\r\n", body.len());
            stream.write_all([head, body].concat().as_bytes()).unwrap();
            read_answer(&mut stream, &mut buffer);
        }
    })
}

fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) {
    let mut filled = 0;
    loop {
        filled += stream.read(&mut buffer[filled..]).unwrap();
        let Some(end) = buffer[..filled.min(256)].windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end]).unwrap();
        let length = head.rsplit(' ').next().unwrap().parse::<usize>().unwrap();
        let whole = end + 4 + length;
        while filled < whole {
            filled += stream.read(&mut buffer[filled..whole]).unwrap();
        }
        return;
    }
}
