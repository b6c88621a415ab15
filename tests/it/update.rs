//! `watchlist update` against a server that behaves as servers do: well, badly, slowly, and not at all.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::common::{PATIENCE, Place, stderr};
use crate::wire::listen;

const A: &str = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
const B: &str = "0xa0e1c89Ef1a489c9C7dE96311eD5Ce5D32c20E4B";
/// Stands in every URL, and must never be seen outside of a request.
const SECRET: &str = "s3cr3t-t0ken";

/// What the server does.
#[derive(Clone)]
enum Serve {
    /// The file with its ETag; 304 where that is asked with.
    Good(&'static str, String),
    /// These bytes, and the connection is closed.
    Raw(String),
    /// The head and half of the body, and then nothing for so long.
    Slow(String, Duration),
}

/// A file server on a port of its own. Its threads live as long as the tests.
struct Server {
    port: u16,
    serve: Arc<Mutex<Serve>>,
    /// The heads of all requests.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Server {
    fn start() -> Self {
        let (serve, asked) = (Arc::new(Mutex::new(Serve::Raw(String::new()))), Arc::new(Mutex::new(Vec::new())));
        let shared = (Arc::clone(&serve), Arc::clone(&asked));
        let port = listen(move |stream| answer(stream, &shared.0, &shared.1)).port();
        Self { port, serve, asked }
    }

    fn will(&self, serve: Serve) {
        *self.serve.lock().unwrap() = serve;
    }

    fn says(&self, raw: &str) {
        self.will(Serve::Raw(raw.to_owned()));
    }

    fn last_asked(&self) -> String {
        self.asked.lock().unwrap().last().unwrap().clone()
    }

    fn config(&self, place: &Place, more: &str) {
        let url = format!("http://127.0.0.1:{}/lists/{SECRET}?token={SECRET}", self.port);
        let text = format!("[[list]]\nname = \"ofac\"\nurl = \"{url}\"\nkind = \"blocking\"\n{more}\n");
        std::fs::write(place.dir.path().join("bolo.toml"), text).unwrap();
    }
}

fn answer(mut stream: TcpStream, serve: &Mutex<Serve>, asked: &Mutex<Vec<String>>) {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone().unwrap());
    while lines.read_line(&mut head).is_ok_and(|found| found > 2) {}
    asked.lock().unwrap().push(head.to_lowercase());
    let serve = serve.lock().unwrap().clone();
    let whole = |body: &str, more: &str| {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n{more}\r\n{body}", body.len())
    };
    let _ = match serve {
        Serve::Good(etag, _) if head.contains(&format!("\"{etag}\"")) => {
            stream.write_all(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")
        }
        Serve::Good(etag, body) => {
            let more = format!("ETag: \"{etag}\"\r\nLast-Modified: Fri, 02 Jan 2026 03:04:05 GMT\r\n");
            stream.write_all(whole(&body, &more).as_bytes())
        }
        Serve::Raw(raw) => stream.write_all(raw.as_bytes()),
        Serve::Slow(body, pause) => {
            let answer = whole(&body, "");
            let half = answer.len() - body.len() / 2;
            stream.write_all(&answer.as_bytes()[..half]).and_then(|()| {
                stream.flush()?;
                std::thread::sleep(pause);
                stream.write_all(&answer.as_bytes()[half..])
            })
        }
    };
}

/// SDN.XML of that day with these addresses.
fn sdn(date: &str, addresses: &[String]) -> String {
    let ids: String = addresses
        .iter()
        .map(|address| {
            format!(
                "<id><uid>1</uid><idType>Digital Currency Address - ETH</idType><idNumber>{address}</idNumber></id>"
            )
        })
        .collect();
    format!(
        "<?xml version=\"1.0\"?><sdnList xmlns=\"urn:x\"><publshInformation><Publish_Date>{date}</Publish_Date></publshInformation>\
         <sdnEntry><uid>1</uid><lastName>LAZARUS GROUP</lastName><sdnType>Entity</sdnType><programList><program>DPRK3</program></programList>\
         <idList>{ids}</idList></sdnEntry></sdnList>"
    )
}

fn many(count: usize) -> Vec<String> {
    (1..=count).map(|n| format!("0x{n:040x}")).collect()
}

fn update(place: &Place, args: &[&str]) -> Output {
    let out = place.run(&[&["watchlist", "update"], args].concat());
    let said = format!("{}{}", String::from_utf8_lossy(&out.stdout), stderr(&out));
    assert!(!said.contains(SECRET), "a key was shown: {said}");
    let left: Vec<_> = std::fs::read_dir(place.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.contains("download"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
    out
}

fn entries(place: &Place) -> usize {
    place.ok(&["-q", "watchlist", "show", "--format", "jsonl"]).lines().count()
}

/// What `status` says of the list; the exit code fits the health.
fn listed(place: &Place) -> Value {
    place.status()["lists"][0].clone()
}

#[test]
fn a_list_is_fetched_once_and_then_only_asked_for() {
    let (place, server) = (Place::new(), Server::start());
    server.config(&place, "every = \"1h\"\nmax_age = \"never\"");
    // Not there yet, and wanted: that is a problem before anything was fetched.
    place.ok(&["watchlist", "add", B, "--list", "cases"]);
    let problem = place.status()["health"]["problems"][0].clone();
    assert_eq!((&problem["code"], &problem["list"]), (&json!("list_overdue"), &json!("ofac")));
    assert!(problem["detail"].as_str().unwrap().contains("never imported"), "{problem}");
    place.ok(&["watchlist", "remove", B, "--list", "cases"]);
    server.will(Serve::Good("one", sdn("01/02/2026", &[A.to_owned(), B.to_owned()])));
    let out = update(&place, &[]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(out.status.success() && said.contains("ofac: 2 entries: 2 added"), "{said}{}", stderr(&out));
    assert!(!server.last_asked().contains("if-none-match") && server.last_asked().contains("user-agent: bolo/"));
    assert_eq!(entries(&place), 2);
    // The same again is only asked for.
    let out = update(&place, &["ofac"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(said.starts_with(&format!("ofac: not changed at 127.0.0.1:{}; published ", server.port)), "{said}");
    let asked = server.last_asked();
    assert!(
        asked.contains("if-none-match: \"one\"") && asked.contains("if-modified-since: fri, 02 jan 2026"),
        "{asked}"
    );
    // Somebody changed it by hand meanwhile: what the server calls it says nothing of that, so the file is fetched. It is older than the
    // change, which stays.
    place.ok(&["watchlist", "remove", B, "--list", "ofac"]);
    let out = update(&place, &[]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("imported before"), "{out:?}");
    assert_eq!(entries(&place), 1);
    assert!(!server.last_asked().contains("if-none-match"));
    // Another URL is another file, whatever it is called.
    server.config(&place, "format = \"ofac-sdn\"");
    update(&place, &[]);
    assert!(!server.last_asked().contains("if-none-match"));
    server.will(Serve::Good("two", sdn("01/03/2026", &[A.to_owned()])));
    let out = update(&place, &[]);
    assert!(String::from_utf8_lossy(&out.stdout).contains("1 ended, 1 unchanged"), "{out:?}");
    let version = place.ok(&["watchlist", "check", A, "--format", "json"]);
    let version: Value = serde_json::from_str(&version).unwrap();
    assert_eq!(version[0]["version"]["source"], json!(format!("127.0.0.1:{}", server.port)));
    assert_eq!(version[0]["kind"], "blocking");
    let strings = std::fs::read(&place.db).unwrap();
    assert!(!strings.windows(SECRET.len()).any(|bytes| bytes == SECRET.as_bytes()), "the URL is not kept");
}

#[test]
fn whatever_goes_wrong_the_last_good_version_stays() {
    let (place, server) = (Place::new(), Server::start());
    server.config(&place, "max_mb = 1\nevery = \"1h\"\nmax_age = \"never\"");
    let good = sdn("01/02/2026", &many(40));
    server.will(Serve::Good("one", good));
    assert!(update(&place, &[]).status.success());
    let checked = listed(&place)["checked_at"].clone();
    assert!(checked.is_string());
    let newer = sdn("01/03/2026", &many(41));
    let plain = |body: &str, length: usize| format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n{body}");
    let redirect =
        |to: &str| format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
    let html = "<!DOCTYPE html>\n<html><body>Maintenance</body></html>";
    let cut = &newer[..newer.len() - 40];
    let lines: String = many(41).iter().map(|address| format!("{address}\n")).collect();
    let chunks = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{cut}\r\n", cut.len());
    let huge = "x".repeat(1_100_000);
    let cases = [
        ("cut off", plain(cut, newer.len()), 75, "stopped sending after "),
        ("cut off in chunks", chunks, 75, "stopped sending after "),
        ("cut off, and it said so itself", plain(cut, cut.len()), 1, "the file from 127.0.0.1"),
        ("a page", plain(html, html.len()), 1, "it is a web page and no list"),
        ("too large, as it says", plain("x", 1_000_001), 1, "larger than 1000000 bytes"),
        ("too large, and no word of it", format!("HTTP/1.1 200 OK\r\n\r\n{huge}"), 1, "larger than 1000000 bytes"),
        ("lines without an end", format!("HTTP/1.1 200 OK\r\n\r\n{lines}"), 1, "so it may be cut off"),
        ("nothing", plain("", 0), 1, "no address in it"),
        ("down", "HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned(), 75, "HTTP status 503"),
        ("gone", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(), 1, "HTTP status 404"),
        ("a loop", redirect(&format!("/{SECRET}")), 1, "more than 5 redirects"),
        ("another kind", redirect(&format!("ftp://127.0.0.1/{SECRET}")), 1, "127.0.0.1"),
        ("no answer", String::new(), 75, "cannot be reached"),
        (
            "fewer",
            plain(&sdn("01/03/2026", &many(19)), sdn("01/03/2026", &many(19)).len()),
            1,
            "would end 21 of 40 entries",
        ),
    ];
    for (what, raw, code, said) in cases {
        server.says(&raw);
        let out = update(&place, &[]);
        let text = stderr(&out);
        assert_eq!(out.status.code(), Some(code), "{what}: {text}");
        assert!(text.contains(said) && text.contains("the list stays as it was"), "{what}: {text}");
        assert!(text.contains("1 of 1 lists could not be updated: ofac"), "{what}: {text}");
        assert_eq!(entries(&place), 40, "{what}");
        let list = listed(&place);
        assert!(list["last_error"].as_str().unwrap().contains(said), "{what}: {list}");
        assert_eq!(list["checked_at"], checked, "{what}");
    }
    server.will(Serve::Slow(newer.clone(), Duration::from_secs(3)));
    let begun = Instant::now();
    let out = update(&place, &["--timeout", "0.5"]);
    assert!(out.status.code() == Some(75) && stderr(&out).contains("sent nothing for 0.5 s"), "{}", stderr(&out));
    assert!(begun.elapsed() < Duration::from_secs(3));
    // What is asked for expressly is done, and then all is well again.
    server.says(&plain(&sdn("01/03/2026", &many(19)), sdn("01/03/2026", &many(19)).len()));
    assert!(update(&place, &["--force"]).status.success());
    assert_eq!((entries(&place), &listed(&place)["last_error"]), (19, &Value::Null));
    server.will(Serve::Slow(newer, Duration::from_millis(300)));
    assert!(update(&place, &[]).status.success(), "slow is not dead");
    assert_eq!(entries(&place), 41);
}

#[test]
fn a_list_that_its_server_does_not_have_any_more_is_a_problem_at_once() {
    let (place, server) = (Place::new(), Server::start());
    server.config(&place, "every = \"30d\"\n");
    let problems = || place.status()["health"]["problems"].as_array().unwrap().clone();
    for (status, at_once) in [
        ("404 Not Found", true),
        ("503 Unavailable", false),
        ("410 Gone", true),
        ("403 Forbidden", true),
        ("429 Too Many Requests", false),
        ("401 Unauthorized", true),
    ] {
        server.will(Serve::Good("\"1\"", sdn("01/02/2030", &many(2)).replace("2030", "2026")));
        assert!(update(&place, &[]).status.success());
        let fresh: Vec<_> =
            problems().into_iter().filter(|p| p["detail"].to_string().contains("cannot be fetched")).collect();
        assert!(fresh.is_empty(), "{status}: {fresh:?}");
        server.says(&format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n"));
        assert!(!update(&place, &[]).status.success());
        let found = problems().into_iter().any(|problem| {
            let detail = problem["detail"].to_string();
            problem["code"] == "list_overdue" && detail.contains("cannot be fetched") && detail.contains(&status[..3])
        });
        assert_eq!(found, at_once, "{status}: {:?}", problems());
    }
}

#[test]
fn an_update_that_is_killed_leaves_the_old_list() {
    let (place, server) = (Place::new(), Server::start());
    server.config(&place, "");
    server.will(Serve::Good("one", sdn("01/02/2026", &many(40))));
    assert!(update(&place, &[]).status.success());
    server.will(Serve::Slow(sdn("01/03/2026", &many(41)), Duration::from_secs(60)));
    let before = server.asked.lock().unwrap().len();
    let mut child =
        place.command(&["watchlist", "update"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let deadline = Instant::now() + PATIENCE;
    while server.asked.lock().unwrap().len() == before {
        assert!(Instant::now() < deadline, "it asks");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(200));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(entries(&place), 40);
    server.will(Serve::Good("two", sdn("01/03/2026", &many(41))));
    assert!(update(&place, &[]).status.success());
    assert_eq!(entries(&place), 41);
}

#[test]
fn bad_lines_of_a_fetched_list_refuse_it_unless_they_are_to_be_skipped() {
    let (place, server) = (Place::new(), Server::start());
    server.will(Serve::Good("one", format!("{A}\nnot an address\n{A}\n{B}\n")));
    server.config(&place, "");
    let out = place.run(&["watchlist", "update"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("bad lines: 1") && stderr(&out).contains("skip_bad = true"), "{}", stderr(&out));
    server.config(&place, "skip_bad = true");
    let out = place.run(&["watchlist", "update"]);
    assert!(out.status.success() && stderr(&out).contains("line 2"), "{}", stderr(&out));
    assert!(String::from_utf8_lossy(&out.stdout).contains("2 added"), "{out:?}");
}

#[test]
fn one_list_that_fails_keeps_no_other_from_being_fetched() {
    let (place, good, bad) = (Place::new(), Server::start(), Server::start());
    good.will(Serve::Good("one", sdn("01/02/2026", &many(3))));
    bad.says("HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n");
    let list = |name: &str, server: &Server| {
        format!("[[list]]\nname = \"{name}\"\nurl = \"http://127.0.0.1:{}/x\"\n", server.port)
    };
    let text = list("bad", &bad) + &list("good", &good) + "[[list]]\nname = \"own\"\n";
    std::fs::write(place.dir.path().join("bolo.toml"), text).unwrap();
    let out = update(&place, &[]);
    assert_eq!((out.status.code(), entries(&place)), (Some(75), 3));
    assert!(stderr(&out).contains("1 of 2 lists could not be updated: bad"), "{}", stderr(&out));
    for (name, why) in [("own", "has no url"), ("other", "no [[list]] with name")] {
        let out = update(&place, &[name]);
        assert!(out.status.code() == Some(1) && stderr(&out).contains(why), "{}", stderr(&out));
    }
    std::fs::write(place.dir.path().join("bolo.toml"), "").unwrap();
    assert!(stderr(&update(&place, &[])).contains("no list to fetch"));
}

#[test]
fn an_overdue_list_shows_in_status_and_health() {
    let place = Place::new();
    std::fs::write(place.dir.path().join("sdn.xml"), sdn("01/02/2020", &many(3))).unwrap();
    place.ok(&["watchlist", "import", "sdn.xml", "--list", "ofac"]);
    place.ok(&["watchlist", "add", A, "--list", "cases"]);
    let status = place.status();
    let problems = status["health"]["problems"].as_array().unwrap();
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert_eq!((&problems[0]["code"], &problems[0]["list"]), (&json!("list_overdue"), &json!("ofac")));
    assert_eq!(problems[0]["since"], "2020-02-16", "45 days after its date");
    let overdue: Vec<_> = status["lists"].as_array().unwrap().iter().map(|list| &list["overdue"]).collect();
    assert_eq!(overdue, [&json!(false), &json!(true)], "cases has no rhythm");
    let out = place.run(&["status"]);
    let table = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(3));
    assert!(table.contains("UNHEALTHY     list_overdue ofac: its newest version is of 2020-01-02"), "{table}");
    assert!(table.contains("3 entries, published ") && table.contains(", OVERDUE"), "{table}");
    // An entry of one's own is no newer version of the list.
    place.ok(&["watchlist", "add", A, "--list", "ofac"]);
    let list = place.status()["lists"][1].clone();
    assert_eq!(
        (&list["name"], &list["published"], &list["overdue"]),
        (&json!("ofac"), &json!("2020-01-02"), &json!(true))
    );
    // Who wants an old list says so.
    let config = |text: &str| std::fs::write(place.dir.path().join("bolo.toml"), text).unwrap();
    config("[[list]]\nname = \"ofac\"\nmax_age = \"never\"\n");
    assert_eq!(place.status()["health"]["problems"], json!([]));
    config("[[list]]\nname = \"ofac\"\nmax_age = \"never\"\nevery = \"1s\"\n");
    std::thread::sleep(Duration::from_millis(3_100));
    let detail = place.status()["health"]["problems"][0]["detail"].clone();
    assert!(detail.as_str().unwrap().contains("expected every second"), "{detail}");
    config("[[list]]\nname = \"ofac\"\nevery = \"soon\"\n");
    let out = place.run(&["status"]);
    assert!(out.status.code() == Some(1) && stderr(&out).contains("[[list]] \"ofac\""), "{}", stderr(&out));
}
