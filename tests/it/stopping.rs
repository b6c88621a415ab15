//! How long commands end: by a signal, by a terminal that hangs up, or because nobody reads what they print.

use std::fs::File;
use std::io::Read;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::common::{Node, PATIENCE, Place, stderr};
use crate::faults::proxy;

fn demo(name: &str) -> String {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/cli/demo").join(name).display().to_string()
}

/// Waits for the end; how it ended, and how long it took.
fn ended(child: &mut Child) -> (ExitStatus, Duration) {
    let begin = Instant::now();
    loop {
        if let Some(status) = child.try_wait().unwrap() {
            return (status, begin.elapsed());
        }
        assert!(begin.elapsed() < PATIENCE, "it does not end");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn send(child: &Child, signal: &str) {
    assert!(Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap().success());
}

/// Whether the process has a handler for SIGTERM, which is signal 15.
fn catches_sigterm(child: &Child) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap_or("0");
    u64::from_str_radix(mask.trim(), 16).is_ok_and(|mask| mask & 1 << 14 != 0)
}

fn wait_until(child: &mut Child, what: &str, mut is_so: impl FnMut(&Child) -> bool) {
    let begin = Instant::now();
    while !is_so(child) {
        assert!(begin.elapsed() < PATIENCE, "never: {what}");
        assert!(child.try_wait().unwrap().is_none(), "ended before: {what}");
        std::thread::sleep(Duration::from_micros(200));
    }
}

/// An endpoint that takes connections and never says a word.
fn mute() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

/// A terminal: the end that its user has, and the one that the program has.
fn terminal(columns: u16) -> (File, OwnedFd) {
    use rustix::fs::{Mode, OFlags};
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    // Closed in every other program that a test starts meanwhile: one that keeps it open would keep the terminal alive.
    let user = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&user).unwrap();
    unlockpt(&user).unwrap();
    let name = ptsname(&user, Vec::new()).unwrap();
    let program = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap();
    let size = rustix::termios::Winsize { ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    rustix::termios::tcsetwinsize(&user, size).unwrap();
    (File::from(user), program)
}

#[test]
fn a_signal_ends_a_watch_with_0_and_an_unfinished_replay_or_recording_as_shells_write_it() {
    let node = Node::start(&[]);
    node.mine(20);
    // Answers until block 9; then it hangs.
    let slow = proxy(&node, |request, answer| {
        let number =
            request["params"][0].as_str().and_then(|text| u64::from_str_radix(text.strip_prefix("0x")?, 16).ok());
        if number.is_some_and(|number| (9..20).contains(&number)) {
            std::thread::sleep(3 * PATIENCE);
        }
        Some(answer)
    });
    let (_listener, mute) = mute();
    let range = ["--from-block", "0", "--to-block", "20", "--concurrency", "2", "--timeout", "60"];
    let cases: Vec<(Vec<&str>, &str, i32)> = vec![
        ([&["replay", "-r", &slow], &range[..]].concat(), "-INT", 130),
        ([&["replay", "-r", &slow], &range[..]].concat(), "-TERM", 143),
        ([&["replay", "-r", &mute], &range[..]].concat(), "-INT", 130),
        ([&["replay", "-r", &mute], &range[..]].concat(), "-TERM", 143),
        ([&["record", "--out", "x.jsonl", "-r", &slow], &range[..]].concat(), "-INT", 130),
        ([&["record", "--out", "y.jsonl", "-r", &mute], &range[..]].concat(), "-TERM", 143),
        (vec!["watch", "-r", &mute, "--timeout", "60"], "-INT", 0),
        (vec!["watch", "-r", &slow, "--from-block", "0", "--timeout", "60"], "-TERM", 0),
    ];
    std::thread::scope(|scope| {
        for (args, signal, code) in &cases {
            scope.spawn(move || {
                let place = Place::new();
                let mut child = place.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                wait_until(&mut child, "signals are caught", catches_sigterm);
                std::thread::sleep(Duration::from_millis(700));
                // Without a terminal this one is nothing to it.
                send(&child, "-HUP");
                std::thread::sleep(Duration::from_millis(300));
                assert!(child.try_wait().unwrap().is_none(), "{args:?}: SIGHUP without a terminal is ignored");
                send(&child, signal);
                let (status, took) = ended(&mut child);
                assert_eq!(status.code(), Some(*code), "{args:?} by {signal}: {status}");
                assert!(took < Duration::from_secs(5), "{args:?}: {took:?}");
                let leftover = std::fs::read_dir(place.dir.path())
                    .unwrap()
                    .flatten()
                    .any(|entry| entry.file_name().to_string_lossy().contains("jsonl"));
                assert!(!leftover, "{args:?}: no part of a recording is left");
            });
        }
    });
}

#[test]
fn a_replay_that_reached_its_end_exits_0() {
    let place = Place::new();
    let out = place.run(&["replay", "--archive", &demo("chain.jsonl.zst"), "--chain", "31337"]);
    assert_eq!(out.status.code(), Some(0), "{}", stderr(&out));
    assert!(stderr(&out).contains("replay done; 60 blocks committed"), "{}", stderr(&out));
}

#[test]
fn a_signal_right_after_the_start_stops_in_order() {
    let (_listener, mute) = mute();
    let replay = ["replay", "-r", &mute, "--from-block", "0", "--to-block", "1"];
    let record = ["record", "-r", &mute, "--from-block", "0", "--to-block", "1", "--out", "x"];
    for (args, code) in [(&["watch", "-r", &mute][..], 0), (&replay[..], 143), (&record[..], 143)] {
        for wait in [0, 500, 2000, 7000] {
            let place = Place::new();
            let mut child = place.command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
            wait_until(&mut child, "SIGTERM is caught", catches_sigterm);
            std::thread::sleep(Duration::from_micros(wait));
            send(&child, "-TERM");
            let (status, took) = ended(&mut child);
            assert_eq!((status.code(), status.signal()), (Some(code), None), "{args:?}, {wait} µs later");
            assert!(took < Duration::from_secs(5), "{took:?}");
        }
    }
}

#[test]
fn a_terminal_that_hangs_up_stops_it_in_order_unless_nohup_said_otherwise() {
    let (_listener, mute) = mute();
    let args = ["watch", "-r", &mute, "--timeout", "60"];
    for (of_stdin, nohup) in [(true, false), (false, false), (true, true)] {
        let place = Place::new();
        let (_user, program) = terminal(80);
        let mut command = place.command(&args);
        if nohup {
            let mut under = Command::new("nohup");
            under.arg(command.get_program()).args(command.get_args()).current_dir(place.dir.path());
            command = under;
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if of_stdin {
            command.stdin(program)
        } else {
            command.stdout(program)
        };
        let mut child = command.spawn().unwrap();
        wait_until(&mut child, "SIGTERM is caught", catches_sigterm);
        std::thread::sleep(Duration::from_millis(300));
        send(&child, "-HUP");
        if nohup {
            std::thread::sleep(Duration::from_millis(500));
            assert!(child.try_wait().unwrap().is_none(), "under nohup SIGHUP stays ignored");
            send(&child, "-TERM");
        }
        let (status, took) = ended(&mut child);
        assert_eq!(status.code(), Some(0), "stdin: {of_stdin}, nohup: {nohup}: {status}");
        assert!(took < Duration::from_secs(5), "{took:?}");
    }
}

fn problem(place: &Place) -> Option<String> {
    let status = place.status();
    let problems = status["health"]["problems"].as_array().unwrap();
    let found = problems.iter().find(|problem| problem["code"] == "output_closed")?;
    Some(found["detail"].as_str().unwrap().to_owned())
}

#[test]
fn a_watch_whose_reader_dies_says_output_closed_and_exits_74() {
    let node = Node::start(&[]);
    let (a, b) = (node.accounts[1], node.accounts[2]);
    for case in ["while nothing is printed", "before an alert", "after an alert", "full disk"] {
        let place = Place::watching(&[(a, "a")]);
        let mut command = place.command(&["watch", "--json", "-r", &node.url, "--from-block", "0"]);
        match case {
            "full disk" => command.stdout(File::create("/dev/full").unwrap()),
            _ => command.stdout(Stdio::piped()),
        };
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        match case {
            "before an alert" => {
                drop(child.stdout.take());
                node.send(a, Some(b), 1, "0x");
            }
            "after an alert" => {
                node.send(a, Some(b), 1, "0x");
                let mut first = [0];
                child.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
                drop(child.stdout.take());
            }
            "full disk" => drop(node.send(a, Some(b), 1, "0x")),
            _ => {
                std::thread::sleep(Duration::from_millis(500));
                drop(child.stdout.take());
            }
        }
        let (status, _) = ended(&mut child);
        let mut log = String::new();
        child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        assert_eq!(status.code(), Some(74), "{case}: {log}");
        assert!(log.contains("error: output_closed"), "{case}: {log}");
        assert!(problem(&place).is_some_and(|detail| detail.contains("watch --json")), "{case}");
        // What was found is stored, and the live line says what it is.
        if case == "after an alert" {
            let alerts = place.alerts(&[]);
            assert!(!alerts.is_empty());
            let tx = alerts.last().unwrap()["tx"]["hash"].as_str().unwrap();
            let line = log.lines().find(|line| line.contains(tx)).unwrap_or_else(|| panic!("no line of {tx}: {log}"));
            assert!(line.contains(" native_transfer") && line.contains("a 0x") && line.contains(" out, "), "{line}");
        }
        let mut watcher = place.watch(&node.url, &[]);
        wait_until(&mut watcher.child, "the problem is gone with the next start", |_| problem(&place).is_none());
        assert_eq!(watcher.stop(), 0);
    }
}

#[test]
fn a_replay_whose_reader_dies_says_output_closed_and_exits_74() {
    let (chain, list) = (demo("chain.jsonl.zst"), demo("watchlist.csv"));
    let replay = ["replay", "--json", "--chain", "31337", "--archive", &chain];
    for lines in [0, 1, 7] {
        let place = Place::new();
        place.ok(&["watchlist", "import", &list, "--list", "demo", "--kind", "blocking"]);
        let mut child = place.command(&replay).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut out = std::io::BufReader::new(child.stdout.take().unwrap());
        for _ in 0..lines {
            let mut line = String::new();
            std::io::BufRead::read_line(&mut out, &mut line).unwrap();
            assert!(serde_json::from_str::<Value>(&line).unwrap()["id"].is_string());
        }
        drop(out);
        let (status, _) = ended(&mut child);
        assert_eq!(status.code(), Some(74), "after {lines} lines");
        assert!(problem(&place).is_some_and(|detail| detail.contains("replay --json")), "after {lines} lines");
        let out = place.run(&replay);
        assert!(out.status.success(), "{}", stderr(&out));
        assert_eq!(problem(&place), None, "gone with the next replay");
    }
    // For commands that only read a closed pipe is no error.
    let place = Place::new();
    place.ok(&["watchlist", "import", &list, "--list", "demo", "--kind", "blocking"]);
    place.ok(&replay[..]);
    for command in
        [&["query", "--limit", "0", "--format", "jsonl"][..], &["watchlist", "show"], &["status", "--coverage"]]
    {
        let mut child = place.command(command).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        assert_eq!(ended(&mut child).0.code(), Some(0), "{command:?}");
    }
}

#[test]
fn a_replay_ends_with_a_summary_in_words() {
    let place = Place::new();
    place.ok(&["watchlist", "import", &demo("watchlist.csv"), "--list", "demo", "--kind", "blocking"]);
    let out = place.run(&["replay", "--chain", "31337", "--archive", &demo("chain.jsonl.zst"), "--to-block", "40"]);
    let text = stderr(&out);
    let summary = text.lines().find(|line| line.contains("replay done")).unwrap_or_else(|| panic!("{text}"));
    for words in ["blocks committed", "0 already held", "outside the range", "70 new alerts (69 high, 1 low)"] {
        assert!(summary.contains(words), "{words}: {summary}");
    }
    assert!(!summary.contains('='), "{summary}");
}

/// What a replay of a recorded chain shows on a terminal.
fn on_terminal(columns: u16, term: &str) -> String {
    let place = Place::new();
    let (mut user, program) = terminal(columns);
    let screen = std::thread::spawn(move || {
        let mut shown = Vec::new();
        let mut buffer = [0; 4096];
        // A terminal whose program is gone ends in an error.
        while let Ok(found) = user.read(&mut buffer) {
            shown.extend(&buffer[..found]);
            if found == 0 {
                break;
            }
        }
        String::from_utf8_lossy(&shown).into_owned()
    });
    let mut command = place.command(&["replay", "--chain", "31337", "--archive", &demo("chain.jsonl.zst")]);
    command.env("TERM", term).stderr(program.as_fd().try_clone_to_owned().unwrap()).stdout(Stdio::null());
    assert!(command.spawn().unwrap().wait().unwrap().success());
    drop((command, program));
    screen.join().unwrap()
}

#[test]
fn a_dumb_terminal_gets_neither_colours_nor_a_bar() {
    assert!(on_terminal(80, "xterm").contains('\u{1b}'));
    for columns in [20, 80, 200] {
        let shown = on_terminal(columns, "dumb");
        assert!(!shown.contains('\u{1b}') && shown.contains("replay done"), "{shown:?}");
    }
}
