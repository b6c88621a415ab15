//! Keys in URLs: servers that echo them in any form, and servers that send the request elsewhere.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use alloy::primitives::hex;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::common::{Node, Place, stderr};
use crate::wire::listen;

/// A server that answers each request as the function says; its address, and how often it was asked.
fn serve(answer: impl Fn(&str, usize) -> String + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let address =
        listen(move |stream| exchange(stream, |request| answer(request, counter.fetch_add(1, Ordering::SeqCst))));
    (address.to_string(), asked)
}

/// Reads one request whole, answers it and closes.
fn exchange(mut stream: TcpStream, answer: impl FnOnce(&str) -> String) -> std::io::Result<()> {
    let mut request = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let found = stream.read(&mut buffer)?;
        request.extend(&buffer[..found]);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            if found == 0 {
                return Ok(());
            }
            continue;
        };
        let length =
            head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
        if found == 0 || body.len() >= length.unwrap_or(0) {
            return stream.write_all(answer(&text).as_bytes());
        }
    }
}

fn response(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{headers}Content-Length: {length}\r\nConnection: close\r\n\r\n{body}")
}

const SECRETS: [&str; 3] = ["hunter22-Pass", "PathKey0aB1c2D3e4F5", "QueryTok_9z8Y7x6W"];

fn url(scheme: &str, address: &str) -> String {
    format!("{scheme}alice:{}@{address}/v3/{}?apikey={}", SECRETS[0], SECRETS[1], SECRETS[2])
}

/// The secrets in many forms, as servers are known to echo them.
fn echoes() -> Vec<String> {
    let each = |encode: &dyn Fn(&str) -> String| SECRETS.map(encode).join(" and ");
    let bytes = |text: &str, form: &dyn Fn(u8) -> String| text.bytes().map(form).collect::<String>();
    vec![
        each(&|secret| secret.to_owned()),
        each(&|secret| secret.to_uppercase()),
        each(&|secret| bytes(secret, &|b| format!("%{b:02x}"))),
        each(&|secret| bytes(secret, &|b| format!("%25{b:02X}"))),
        each(&|secret| bytes(secret, &|b| format!("\\u{b:04x}"))),
        each(&|secret| bytes(secret, &|b| format!("&#x{b:x};"))),
        each(&|secret| hex::encode_upper(secret)),
        each(&|secret| STANDARD.encode(secret)),
        each(&|secret| STANDARD.encode(format!("alice:{secret}"))),
        each(&|secret| format!("{}****{}", &secret[..6], &secret[secret.len() - 4..])),
        each(&|secret| secret[2..].to_owned()),
        // So long that it is cut within one.
        format!("{}{}", "x ".repeat(54), each(&|secret| secret.to_owned())),
        format!("{}{}", "x ".repeat(143), each(&|secret| secret.to_owned())),
    ]
}

/// No part of a secret, in no form, is in the text.
fn assert_hidden(text: &str, about: &str) {
    let lower = text.to_lowercase();
    for secret in SECRETS {
        for part in secret.as_bytes().windows(6) {
            let part = std::str::from_utf8(part).unwrap();
            let percent: String = part.bytes().map(|b| format!("%{b:02x}")).collect();
            let unicode: String = part.bytes().map(|b| format!("\\u{b:04x}")).collect();
            let entities: String = part.bytes().map(|b| format!("&#x{b:x};")).collect();
            for form in [
                part.to_lowercase(),
                hex::encode(part),
                percent.clone(),
                percent.replace('%', "%25"),
                unicode,
                entities,
            ] {
                assert!(!lower.contains(&form), "{about}: {part} of {secret} as {form}:\n{text}");
            }
        }
        let encoded = STANDARD.encode(secret);
        let core = &encoded[..encoded.len() / 4 * 3];
        assert!(!text.contains(core), "{about}: {secret} in Base64:\n{text}");
    }
}

#[test]
fn what_a_server_echoes_of_a_key_is_never_printed_or_stored() {
    let forms = echoes();
    let shapes = 6;
    let (address, _) = serve(move |_, count| {
        let echo = &forms[count / shapes % forms.len()];
        let json = |code: i64| {
            let message = echo.replace('\\', "\\\\");
            format!(
                "{{\"jsonrpc\":\"2.0\",\"id\":0,\"error\":{{\"code\":{code},\"message\":\"no access: {message}\"}}}}"
            )
        };
        match count % shapes {
            0 => response("200 OK", "", &json(-32000)),
            1 => response("403 Forbidden", "", &format!("<html>forbidden for {echo}</html>")),
            2 => response(
                "401 Unauthorized",
                &format!("WWW-Authenticate: Basic realm=\"{}\"\r\n", SECRETS[1]),
                &json(-32001),
            ),
            3 => response("200 OK", "", &format!("{{\"oops\": \"{echo}\"")),
            4 => response("307 Temporary Redirect", &format!("Location: http://127.0.0.1:1/{}\r\n", SECRETS[1]), echo),
            _ => response("200 OK", "", &format!("not JSON: {echo}")),
        }
    });
    let place = Place::new();
    let list_url = url("http://", &address).replace("/v3/", "/list/");
    let config = format!(
        "rpc_urls = [{:?}]\n[[list]]\nname = \"fetched\"\nurl = {list_url:?}\nkind = \"advisory\"\nformat = \"json\"\n",
        url("http://", &address)
    );
    std::fs::write(place.dir.path().join("bolo.toml"), config).unwrap();
    let commands: Vec<Vec<&str>> = vec![
        vec!["endpoints", "--timeout", "3"],
        vec!["endpoints", "--timeout", "3", "--format", "json"],
        vec!["watch", "--from-block", "0", "--timeout", "3"],
        vec!["--log-format", "json", "replay", "--from-block", "0", "--to-block", "1", "--timeout", "1"],
        vec!["record", "--from-block", "0", "--to-block", "1", "--out", "x.jsonl", "--timeout", "1"],
        vec!["watchlist", "update"],
        vec!["status"],
        vec!["status", "--format", "json"],
        vec!["query"],
        vec!["watchlist", "show"],
        vec!["verify"],
    ];
    let run = |command: &Vec<&str>| {
        let mut all = vec!["-vv"];
        all.extend(command);
        let out = place.command(&all).env("RUST_LOG", "trace").output().unwrap();
        assert_hidden(&(String::from_utf8_lossy(&out.stdout).into_owned() + &stderr(&out)), &format!("{command:?}"));
    };
    // Surveys are quick: as many as show every form in every shape.
    for command in std::iter::repeat_n(&commands[0], 8).chain(std::iter::repeat_n(&commands[1], 8)) {
        run(command);
    }
    std::thread::scope(|scope| commands[2..6].iter().for_each(|command| drop(scope.spawn(|| run(command)))));
    commands[6..].iter().for_each(run);
    // Nor is any of it in a file.
    for entry in std::fs::read_dir(place.dir.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().is_some_and(|name| name != "bolo.toml") {
            let bytes = std::fs::read(&path).unwrap();
            assert_hidden(&String::from_utf8_lossy(&bytes), &path.display().to_string());
        }
    }
}

#[test]
fn the_user_part_of_a_url_without_a_scheme_is_never_shown() {
    let place = Place::new();
    for url in
        [url("", "127.0.0.1:9"), url("//", "127.0.0.1:9"), url("ftp://", "127.0.0.1:9"), url("http:/", "127.0.0.1:9")]
    {
        for command in [
            &["watch", "-r", &url, "--timeout", "1"][..],
            &["endpoints", "-r", &url],
            &["record", "--from-block", "0", "--to-block", "0", "--out", "x", "--timeout", "1", "-r", &url],
            &["status", &url],
            &["query", "--tx", &url],
        ] {
            let out = place.command(command).env("RUST_LOG", "trace").output().unwrap();
            assert!(!out.status.success());
            assert_hidden(
                &(String::from_utf8_lossy(&out.stdout).into_owned() + &stderr(&out)),
                &format!("{command:?}"),
            );
        }
    }
}

#[test]
fn an_endpoint_that_redirects_to_another_server_is_not_followed() {
    let (elsewhere, asked) = serve(|_, _| response("200 OK", "", r#"{"jsonrpc":"2.0","id":0,"result":"0x1"}"#));
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"] {
        let target = elsewhere.clone();
        let (address, _) =
            serve(move |_, _| response(status, &format!("Location: http://{target}/v3/{}\r\n", SECRETS[1]), ""));
        let place = Place::new();
        let out = place.run(&["endpoints", "-r", &url("http://", &address), "--timeout", "3"]);
        let text = String::from_utf8_lossy(&out.stdout).into_owned() + &stderr(&out);
        assert_eq!(out.status.code(), Some(75), "{text}");
        assert!(text.contains("redirects to another server") && text.contains(&elsewhere), "{status}: {text}");
        assert_hidden(&text, status);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 0, "nobody asked the other server");
}

#[test]
fn an_endpoint_that_redirects_to_another_path_of_its_own_is_followed() {
    let node = Node::start(&[]);
    let target = node.url.trim_start_matches("http://").to_owned();
    let (address, _) = serve(move |request, _| {
        if request.starts_with("POST /moved") {
            let mut answer = String::new();
            let mut stream = TcpStream::connect(&target).unwrap();
            let request = request.replacen("POST /moved", "POST /", 1).replacen("\r\n", "\r\nConnection: close\r\n", 1);
            stream.write_all(request.as_bytes()).unwrap();
            let _ = stream.read_to_string(&mut answer);
            return answer;
        }
        response("307 Temporary Redirect", "Location: /moved\r\n", "")
    });
    let place = Place::new();
    let out = place.run(&["replay", "-r", &format!("http://{address}/"), "--from-block", "0", "--to-block", "0"]);
    assert!(out.status.success(), "{}", stderr(&out));
}

#[test]
fn a_config_file_with_secrets_that_other_users_can_access_is_warned_of() {
    let place = Place::new();
    let path = place.dir.path().join("bolo.toml");
    let key = SECRETS[1];
    for (text, has_secrets) in [
        (format!("rpc_urls = [\"{}\"]\n", url("http://", "127.0.0.1:9")), true),
        (format!("rpc_urls = ['https://rpc.example/v3/{key}']\n"), true),
        (format!("[[endpoint]]\nurl = \"wss://alice:{key}@rpc.example\"\n"), true),
        (format!("[[list]]\nname = \"l\"\nurl = \"https://lists.example/l.csv?token={key}\"\n"), true),
        ("rpc_urls = [\"http://127.0.0.1:8545\"]\n".to_owned(), false),
        ("quorum = 2\n".to_owned(), false),
    ] {
        std::fs::write(&path, text).unwrap();
        for (mode, is_open) in
            [(0o644, true), (0o604, true), (0o660, true), (0o666, true), (0o640, false), (0o600, false), (0o440, false)]
        {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            let said = stderr(&place.run(&["watchlist", "add", "0x098B716B8Aaf21512996dC57EB0615e2383E2f96"]));
            let warned = said.contains("run chmod 640 bolo.toml");
            assert_eq!(warned, has_secrets && is_open, "{mode:o}: {said}");
            assert_hidden(&said, "a warning");
        }
    }
}
