//! A real node, the real program, and what both say.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use alloy::primitives::{Address, B256, U256, hex};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::wire::pass_on;

/// Long enough for a slow machine; reached only where something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The tests' own anvil: named by tests/run, else the one that `npm ci` put into tests/.
fn anvil() -> PathBuf {
    if let Some(path) = std::env::var_os("BOLO_TEST_ANVIL") {
        return path.into();
    }
    let modules = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/node_modules/@foundry-rs");
    std::fs::read_dir(&modules)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin/anvil"))
        .find(|path| path.exists())
        .expect("no anvil: run the tests by tests/run, which installs it")
}

/// A running node, stopped when dropped.
pub(crate) struct Node {
    child: Child,
    pub url: String,
    pub accounts: Vec<Address>,
    /// It mines each transaction at once.
    automine: bool,
    /// Its folder, which goes with it.
    _states: TempDir,
}

impl Node {
    /// `extra` are anvil's own arguments (`--no-mining`, `--block-time 1`); without one it mines each transaction at once.
    pub(crate) fn start(extra: &[&str]) -> Self {
        // Its old states, which it would leave in the user's home for good when it is killed.
        let states = tempfile::tempdir().unwrap();
        let mut child = Command::new(anvil())
            .args(["--port", "0", "--hardfork", "osaka", "--accounts", "20", "--cache-path"])
            .arg(states.path())
            .args(extra)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("anvil starts");
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let address = lines
            .by_ref()
            .map(|line| line.expect("anvil speaks"))
            .find_map(|line| line.strip_prefix("Listening on ").map(str::to_owned))
            .expect("anvil listens");
        std::thread::spawn(move || for _ in lines {});
        let mut node = Self {
            child,
            url: format!("http://{}", address.trim()),
            accounts: Vec::new(),
            automine: extra.is_empty(),
            _states: states,
        };
        let accounts = node.rpc("eth_accounts", json!([]));
        node.accounts = serde_json::from_value(accounts).unwrap();
        node
    }

    pub(crate) fn ws(&self) -> String {
        self.url.replace("http://", "ws://")
    }

    pub(crate) fn rpc(&self, method: &str, params: Value) -> Value {
        self.try_rpc(method, params).unwrap_or_else(|error| panic!("{method}: {error}"))
    }

    pub(crate) fn try_rpc(&self, method: &str, params: Value) -> Result<Value, String> {
        let body = json!({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).to_string();
        let node = self.url.trim_start_matches("http://");
        let mut stream = pass_on(node, body.as_bytes()).map_err(|e| e.to_string())?;
        // A node that hangs is to fail the test, not to hang it.
        stream.set_read_timeout(Some(5 * PATIENCE)).map_err(|e| e.to_string())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).map_err(|e| e.to_string())?;
        let (_, body) = answer.split_once("\r\n\r\n").ok_or("no answer")?;
        let mut answer: Value = serde_json::from_str(body).map_err(|e| format!("{e}: {body}"))?;
        match answer.get("error") {
            Some(error) => Err(error.to_string()),
            None => Ok(answer["result"].take()),
        }
    }

    /// Sends a transaction of an account of the node's own; where the node mines at once, it is mined when this returns.
    pub(crate) fn send(&self, from: Address, to: Option<Address>, value: u128, data: &str) -> B256 {
        let mut tx = json!({"from": from, "value": format!("{value:#x}"), "data": data, "gas": "0x4c4b40"});
        if let Some(to) = to {
            tx["to"] = json!(to);
        }
        let hash = serde_json::from_value(self.rpc("eth_sendTransaction", json!([tx]))).unwrap();
        if self.automine {
            self.receipt(hash);
        }
        hash
    }

    pub(crate) fn receipt(&self, hash: B256) -> Value {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let receipt = self.rpc("eth_getTransactionReceipt", json!([hash]));
            if !receipt.is_null() {
                return receipt;
            }
            assert!(Instant::now() < deadline, "{hash} was never mined");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Deploys a contract of tests/contracts; waits for it.
    pub(crate) fn deploy(&self, from: Address, name: &str, arguments: &str) -> Address {
        let code = format!("{}{}", contract(name)["creation"].as_str().unwrap(), arguments);
        let receipt = self.receipt(self.send(from, None, 0, &code));
        assert_eq!(receipt["status"], "0x1", "{name} deploys");
        serde_json::from_value(receipt["contractAddress"].clone()).unwrap()
    }

    pub(crate) fn mine(&self, blocks: u64) {
        self.rpc("anvil_mine", json!([format!("{blocks:#x}")]));
    }

    pub(crate) fn head(&self) -> u64 {
        number(&self.rpc("eth_blockNumber", json!([])))
    }

    pub(crate) fn hash_at(&self, number: u64) -> String {
        let block = self.rpc("eth_getBlockByNumber", json!([format!("{number:#x}"), false]));
        block["hash"].as_str().unwrap().to_owned()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn contract(name: &str) -> &'static Value {
    static CONTRACTS: OnceLock<Value> = OnceLock::new();
    let all = CONTRACTS.get_or_init(|| {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/contracts/contracts.json");
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    });
    &all[name]
}

/// Calldata: selector of a contract's function, and words.
pub(crate) fn call(name: &str, signature: &str, words: &[U256]) -> String {
    let selector = contract(name)["abi-signatures"][signature].as_str().expect("a function of the contract");
    let words: String = words.iter().map(|word| hex::encode(word.to_be_bytes::<32>())).collect();
    format!("0x{selector}{words}")
}

pub(crate) fn word(address: Address) -> U256 {
    address.into_word().into()
}

pub(crate) fn n(value: u64) -> U256 {
    U256::from(value)
}

pub(crate) fn number(quantity: &Value) -> u64 {
    u64::from_str_radix(quantity.as_str().unwrap().trim_start_matches("0x"), 16).unwrap()
}

/// Constructor arguments of Erc20(name, symbol, decimals).
pub(crate) fn erc20_arguments(name: &str, symbol: &str, decimals: u8) -> String {
    let text = |text: &str| format!("{:064x}{}", text.len(), hex::encode(text) + &"0".repeat(64 - 2 * text.len()));
    format!("{:064x}{:064x}{:064x}{}{}", 96, 160, decimals, text(name), text(symbol))
}

/// A folder with a database and a watchlist.
pub(crate) struct Place {
    pub dir: TempDir,
    pub db: PathBuf,
    /// Set for the program.
    pub env: Vec<(&'static str, PathBuf)>,
}

impl Place {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = dir.path().join("bolo.db");
        Self { dir, db, env: Vec::new() }
    }

    pub(crate) fn watching(addresses: &[(Address, &str)]) -> Self {
        let place = Self::new();
        place.import(addresses);
        place
    }

    pub(crate) fn import(&self, addresses: &[(Address, &str)]) {
        let list = self.dir.path().join("test.csv");
        let mut text = String::from("address,label\n");
        for (address, label) in addresses {
            text += &format!("{address},{label}\n");
        }
        std::fs::write(&list, text).unwrap();
        let out = self.run(&["watchlist", "import", list.to_str().unwrap()]);
        assert!(out.status.success(), "{}", stderr(&out));
    }

    /// The program with this place's database.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bolo"));
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.envs(self.env.iter().map(|(name, value)| (name, value)));
        command.current_dir(self.dir.path()).arg("--db").arg(&self.db).args(args).stdin(Stdio::null());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let out = self.run(args);
        assert!(out.status.success(), "{args:?}: {}", stderr(&out));
        String::from_utf8(out.stdout).unwrap()
    }

    /// Every alert that the filters let through, oldest first.
    pub(crate) fn alerts(&self, filters: &[&str]) -> Vec<Value> {
        let mut args = vec!["-q", "query", "--format", "jsonl", "--limit", "0", "--order", "asc"];
        args.extend(filters);
        self.ok(&args).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    pub(crate) fn status(&self) -> Value {
        let out = self.run(&["-q", "status", "--format", "json"]);
        assert!(matches!(out.status.code(), Some(0 | 3)), "{}", stderr(&out));
        let status: Value = serde_json::from_slice(&out.stdout).unwrap();
        let healthy = status["health"]["healthy"] == true;
        assert_eq!(out.status.code(), Some(if healthy { 0 } else { 3 }), "the exit code tells the health");
        status
    }

    /// Starts `bolo watch` on the endpoint.
    pub(crate) fn watch(&self, url: &str, extra: &[&str]) -> Watcher {
        let log = self.dir.path().join("watch.log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut args = vec!["watch", "-r", url];
        args.extend(extra);
        let child = self.command(&args).stdout(Stdio::null()).stderr(file).spawn().unwrap();
        Watcher { child, log }
    }

    /// Waits until the watcher holds the node's head, it is the node's block, and nothing below it is owed.
    pub(crate) fn caught_up(&self, node: &Node, watcher: &mut Watcher) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let head = node.head();
            let out = self.run(&["-q", "status", "--format", "json"]);
            // 3 is what it says where something is wrong: with one of two endpoints, say.
            if matches!(out.status.code(), Some(0 | 3)) {
                let status: Value = serde_json::from_slice(&out.stdout).unwrap();
                let tip = &status["watch_tip"];
                let at_head = tip["number"].as_u64() == Some(head) && tip["hash"] == node.hash_at(head).as_str();
                if at_head && status["owed"] == json!([]) {
                    return;
                }
            }
            if let Some(status) = watcher.child.try_wait().unwrap() {
                panic!("the watcher ended with {status}:\n{}", watcher.log());
            }
            assert!(Instant::now() < deadline, "not caught up with block {head}:\n{}", watcher.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A running `bolo watch`, killed when dropped.
pub(crate) struct Watcher {
    pub child: Child,
    log: PathBuf,
}

impl Watcher {
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    /// Lets it run for a while, then stops it.
    pub(crate) fn stop_after(self, pause: Duration) -> i32 {
        std::thread::sleep(pause);
        self.stop()
    }

    /// Asks it to stop and waits for its exit code.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal("-TERM");
        self.child.wait().unwrap().code().expect("an exit code")
    }

    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What the alert says of its proof is so: no root covers traces, all else is proven.
pub(crate) fn well_proven(alert: &Value) -> bool {
    alert["proof"] == if alert["plane"] == "traces" { "unproven" } else { "proven" }
}

pub(crate) fn stderr(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// An alert without what differs from run to run: when it was seen, and where, and whether its block had been screened before.
pub(crate) fn timeless(alert: &Value) -> Value {
    let mut alert = alert.clone();
    let fields = alert.as_object_mut().unwrap();
    fields.remove("seen_at");
    fields.remove("retroactive");
    fields.remove("endpoint");
    alert
}

pub(crate) fn timeless_all(alerts: &[Value]) -> Vec<Value> {
    alerts.iter().map(timeless).collect()
}

/// Says that a test leaves something out, past the capture of the test harness: a check that did not run must not look like one that
/// passed.
pub(crate) fn not_checked(why: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("a test");
    // `eprintln!` would be captured, and shown only of tests that fail.
    std::io::stderr().write_all(format!("NOT CHECKED: {test}: {why}\n").as_bytes()).unwrap();
}

/// A file of the shared real data, unpacked; none, said aloud, where it is not beside the project (or in `BOLO_TEST_SHARED`).
pub(crate) fn shared(name: &str) -> Option<String> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared");
    let path = std::env::var_os("BOLO_TEST_SHARED").map_or_else(beside, PathBuf::from).join(name);
    let Ok(bytes) = std::fs::read(&path) else {
        not_checked(&format!("shared/{name} is not here"));
        return None;
    };
    if !name.ends_with(".zst") {
        return Some(String::from_utf8(bytes).unwrap());
    }
    let mut text = String::new();
    zstd::stream::read::Decoder::new(&bytes[..]).unwrap().read_to_string(&mut text).unwrap();
    Some(text)
}

#[test]
fn a_test_whose_data_are_absent_says_so_past_the_capture_and_as_often_as_it_is_left_out() {
    let nowhere = tempfile::tempdir().unwrap();
    let tests = [
        "amsterdam::all_four_archives_of_the_fork_give_exactly_the_expected_rows",
        "amsterdam::the_gas_a_transaction_paid_is_proven_whatever_its_receipt_says_of_gas_used",
        "unknown_fork::a_header_with_unknown_fields_is_refused_by_their_names_where_its_hash_needs_them",
        "unknown_fork::a_transaction_of_an_unknown_type_is_refused_by_its_type_whatever_fields_it_lacks",
        "flips::every_flipped_byte_of_small_real_blocks_is_refused_or_changes_nothing_and_is_counted",
    ];
    let out = Command::new(std::env::current_exe().unwrap())
        .arg("--exact")
        .args(tests)
        .env("BOLO_TEST_SHARED", nowhere.path())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stdout));
    assert!(String::from_utf8_lossy(&out.stdout).contains("5 passed"), "{}", String::from_utf8_lossy(&out.stdout));
    for test in tests {
        assert!(stderr(&out).contains(&format!("NOT CHECKED: {test}: ")), "{test}: {}", stderr(&out));
    }
}
