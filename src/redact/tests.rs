//! What is found in texts, and what is left alone.
#![cfg(test)]

use super::*;

const URL: &str =
    "https://alice:S3cret%2Fpass+1@rpc.example.org:8545/v3/0aB1c2D3e4F5a6B7c8D9/mainnet?apikey=Zx9-Yw8_Vu7Ts6&t=ab";

fn hiding(urls: &[&str]) -> impl Fn(&str) -> String {
    let mut redactor = Redactor::new();
    for secret in urls.iter().flat_map(|url| secrets_of(url)) {
        redactor.add(&secret);
    }
    move |text| redactor.redact(text).into_owned()
}

fn everywhere(text: &str, encode: impl Fn(u8) -> String) -> String {
    text.bytes().map(encode).collect()
}

#[test]
fn a_secret_is_found_in_whatever_form_a_server_echoes_it() {
    let hide = hiding(&[URL]);
    let decoded = ["S3cret/pass+1", "0aB1c2D3e4F5a6B7c8D9", "Zx9-Yw8_Vu7Ts6"];
    for secret in decoded {
        let json = secret.replace('/', "\\/");
        let forms = [
            secret.to_owned(),
            secret.to_uppercase(),
            secret.to_lowercase(),
            everywhere(secret, |b| format!("%{b:02x}")),
            everywhere(secret, |b| format!("%{b:02X}")),
            everywhere(secret, |b| format!("%25{b:02X}")),
            everywhere(secret, |b| format!("\\u{b:04x}")),
            everywhere(secret, |b| format!("\\\\u{b:04X}")),
            everywhere(secret, |b| format!("\\x{b:02x}")),
            everywhere(secret, |b| format!("&#{b};")),
            everywhere(secret, |b| format!("&#x{b:X};")),
            everywhere(secret, |b| if b % 2 == 0 { format!("%{b:02x}") } else { char::from(b).to_string() }),
            json,
            hex::encode(secret),
            hex::encode_upper(secret),
            STANDARD.encode(secret),
            URL_SAFE.encode(secret),
            STANDARD.encode(format!("alice:{secret}")),
            STANDARD.encode(format!("GET /{secret} HTTP/1.1")),
            STANDARD.encode(format!("x{secret} and more")),
            secret[..9].to_owned(),
            secret[3..].to_owned(),
            format!("{}****", &secret[..4]),
            format!("{}…", &secret[..5]),
            format!("***{}", &secret[secret.len() - 4..]),
        ];
        for form in forms {
            let core = form.trim_matches(['*', '…']);
            for text in
                [format!("the key {form} is wrong"), format!("{{\"error\":\"{form}\"}}"), format!("X-Key: {form}")]
            {
                let shown = hide(&text);
                assert!(!shown.contains(core) && shown.contains(MASK), "{text:?} is shown as {shown:?}");
                let (begin, end) = (text.find(&form).unwrap(), text.len() - form.len());
                assert!(shown.starts_with(&text[..begin]), "{shown:?}");
                assert!(shown.len() >= end.saturating_sub(2), "no more is taken out than it: {shown:?}");
            }
        }
    }
    // No more of any encoded form is left than its edges, which its neighbours decide.
    let basic = hide(&format!("authorization: Basic {}", STANDARD.encode("alice:S3cret/pass+1")));
    assert!(basic.len() < "authorization: Basic ".len() + 10, "{basic}");
}

#[test]
fn what_is_no_secret_stays_as_it_is() {
    let hide = hiding(&[URL, "https://eth.example.com/v1/mainnet", "http://u:pw@h/abcd"]);
    for text in [
        "endpoint rpc.example.org:8545: error -32000: header not found",
        "taken for Ethereum's mainnet",
        "block 0x0aabcdef12345678900aabcdef12345678900aabcdef12345678900aabcdef12 of 17",
        "100% of %zz and \\u12 &#x; &amp &unknown; \\",
        "ab is short; t=ac",
        "",
    ] {
        assert_eq!(hide(text), text);
    }
    assert_eq!(hide("word abcd, not xabcdx; (abcd)"), format!("word {MASK}, not xabcdx; ({MASK})"));
}

#[test]
fn urls_without_a_scheme_have_secrets_too() {
    for url in [
        "alice:hunter22x@rpc.example.org/KEYKEY0123456789",
        "//alice:hunter22x@rpc.example.org/KEYKEY0123456789",
        "rpc.example.org/v2/KEYKEY0123456789?token=hunter22x",
        "rpc.example.org?token=hunter22x&key=KEYKEY0123456789",
        "hunter22x@rpc.example.org:80/KEYKEY0123456789",
        "wss://rpc.example.org/#hunter22x/KEYKEY0123456789",
    ] {
        let shown = hiding(&[url])("no KEYKEY0123456789 for hunter22x");
        assert_eq!(shown, format!("no {MASK} for {MASK}"), "{url}");
    }
    let hide = hiding(&[]);
    assert_eq!(
        hide("moved to https://bob:x@other.example/a and ws://tok@b"),
        format!("moved to https://{MASK}@other.example/a and ws://{MASK}@b")
    );
}

#[test]
fn words_of_a_command_line_are_looked_through_for_urls() {
    register_urls_in(
        "--rpc-url=https://a.example/CMDLINEKEY0001,https://b.example/x?k=CMDLINEKEY0002 -r bob:CMDLINEKEY0003@c",
    );
    assert_eq!(redacted("CMDLINEKEY0001 CMDLINEKEY0002 cmdlinekey0003"), format!("{MASK} {MASK} {MASK}"));
}

#[test]
fn the_host_of_a_url_that_is_attached_to_an_option_stays_visible_and_its_secrets_do_not() {
    for (place, form) in [
        "-rhttps://HOST/ATTACHEDKEY",
        "-rwss://HOST/v2/ATTACHEDKEY",
        "-r=http://HOST:8545/ATTACHEDKEY",
        "-vrws://HOST/?key=ATTACHEDKEY",
        "--rpc-url=https://HOST/ATTACHEDKEY",
        "ETH_RPC_URL=https://HOST/ATTACHEDKEY",
        "-rftp://HOST/ATTACHEDKEY",
        "-rhttps://bob:ATTACHEDKEY@HOST",
        "-rbob:ATTACHEDKEY@HOST",
        "--rpc-url=bob:ATTACHEDKEY@HOST/x",
        "rpc=bob:ATTACHEDKEY@HOST",
    ]
    .into_iter()
    .enumerate()
    {
        let (host, key) = (format!("rpc{place}.attached.example"), format!("Zx9Qw7{place:04}Vb5"));
        register_urls_in(&form.replace("HOST", &host).replace("ATTACHEDKEY", &key));
        let shown = redacted(&format!("{host} refused {key}")).into_owned();
        assert_eq!(shown, format!("{host} refused {MASK}"), "{form}");
    }
}

#[test]
fn whatever_a_server_sends_nothing_panics() {
    use proptest::prelude::*;
    let hide = hiding(&[URL]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 300,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let pieces = prop_oneof![
        "\\PC{0,12}",
        Just("%e2".to_owned()),
        Just("\\ud800".to_owned()),
        Just("&#x110000;".to_owned()),
        Just("S3cret".to_owned()),
        Just("%2Fpass".to_owned()),
        Just("+1".to_owned()),
        Just("é…".to_owned()),
        Just("0aB1c2D3e4".to_owned()),
        Just("://a@".to_owned()),
    ];
    let texts = prop::collection::vec(pieces, 0..12).prop_map(|all| all.concat());
    runner
        .run(&texts, |text| {
            let shown = hide(&text);
            prop_assert!(!shown.contains("S3cret/pass") && !shown.contains("0aB1c2D3"));
            Ok(())
        })
        .unwrap();
}
