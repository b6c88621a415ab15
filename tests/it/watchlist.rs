//! Lists on the command line: what people write, and what they are told. Without a node.

use std::io::Write;
use std::process::Stdio;

use crate::common::{Place, stderr};

const A: &str = "0x098B716B8Aaf21512996dC57EB0615e2383E2f96";
const B: &str = "0x70997970C51812dc3A010C7d01b50e0d17dc79C8";
const C: &str = "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC";

fn write(place: &Place, name: &str, text: impl AsRef<[u8]>) {
    std::fs::write(place.dir.path().join(name), text).unwrap();
}

fn entries(place: &Place, list: &str) -> Vec<serde_json::Value> {
    let text = place.ok(&["-q", "watchlist", "show", "--list", list, "--format", "json"]);
    serde_json::from_str(&text).unwrap()
}

fn lists(place: &Place) -> serde_json::Value {
    place.status()["lists"].clone()
}

fn with_input(place: &Place, args: &[&str], input: &str) -> std::process::Output {
    let mut child =
        place.command(args).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn several_addresses_are_added_and_removed_at_once_or_none_where_one_is_wrong() {
    let place = Place::new();
    let out = place.ok(&["watchlist", "add", A, &B.to_lowercase(), &B[2..], "--list", "cases"]);
    assert_eq!(out.lines().count(), 2, "each once: {out}");
    let out =
        with_input(&place, &["watchlist", "add", "-", "--list", "piped"], &format!("{A}\n# note\n\n{C} # thief\r\n"));
    assert!(out.status.success(), "{}", stderr(&out));
    assert_eq!(entries(&place, "piped").len(), 2);
    for words in [vec![C, "0x12"], vec![C, &A.replace("8Aaf", "8AAf")], vec!["latest", C]] {
        let out = place.run(&[&["watchlist", "add", "--list", "bad"][..], &words].concat());
        assert_eq!(out.status.code(), Some(1), "{words:?}");
    }
    let out = with_input(&place, &["watchlist", "add", "-", "--list", "bad"], &format!("{C}\n{}\n", "0xzz"));
    assert!(stderr(&out).contains("line 2"), "{}", stderr(&out));
    assert!(lists(&place).as_array().unwrap().iter().all(|list| list["name"] != "bad"), "nothing was taken");
    place.ok(&["watchlist", "rm", A, B, "--list", "cases"]);
    assert!(entries(&place, "cases").is_empty());
    let out = place.run(&["watchlist", "remove", A, B, "--list", "piped"]);
    assert_eq!(out.status.code(), Some(1));
    assert_eq!(entries(&place, "piped").len(), 1, "what is there is removed");
}

#[test]
fn names_that_are_empty_or_look_like_paths_are_no_lists() {
    let place = Place::new();
    write(&place, "good.csv", format!("address\n{A}\n"));
    for name in ["", " ", "..", ".", "a/b", "/etc/passwd", "..\\x", "a\u{202e}b", "tab\t", " padded", &"x".repeat(201)]
    {
        for args in
            [vec!["watchlist", "add", A, "--list", name], vec!["watchlist", "import", "good.csv", "--list", name]]
        {
            let out = place.run(&args);
            assert_eq!(out.status.code(), Some(1), "{args:?}");
            assert!(stderr(&out).contains("is no name for a list"), "{args:?}: {}", stderr(&out));
        }
    }
    place.ok(&["watchlist", "add", A, "--list", "OFAC SDN (2026), ETH"]);
    assert_eq!(lists(&place).as_array().unwrap().len(), 1);
}

#[test]
fn what_add_does_not_name_is_kept_and_an_empty_text_takes_it_away() {
    let place = Place::new();
    let add = |more: &[&str]| place.ok(&[&["watchlist", "add", A, "--list", "cases"][..], more].concat());
    add(&["--label", "mule", "--entity", "Ring", "--program", "P1", "--listed-from", "2024-01-01"]);
    let all = |entry: &serde_json::Value| {
        ["label", "entity", "programs", "listed_from"].map(|name| entry[name].to_string()).join(" ")
    };
    let first = all(&entries(&place, "cases")[0]);
    assert!(add(&[]).contains("unchanged on"));
    assert_eq!(all(&entries(&place, "cases")[0]), first);
    add(&["--entity", "Other ring"]);
    assert_eq!(all(&entries(&place, "cases")[0]), first.replace("Ring", "Other ring"));
    add(&["--program", "P2"]);
    add(&["--listed-from", "2025-01-01"]);
    let entry = &entries(&place, "cases")[0];
    assert_eq!(
        (&entry["label"], &entry["programs"][0], &entry["entity"]),
        (&"mule".into(), &"P2".into(), &"Other ring".into())
    );
    add(&["--label", ""]);
    assert!(entries(&place, "cases")[0]["label"].is_null());
}

#[test]
fn check_answers_for_the_good_addresses_and_tells_listed_ones_by_its_exit_code() {
    let place = Place::new();
    place.ok(&["watchlist", "add", A]);
    let out = place.run(&["watchlist", "check", A, B, "nonsense", "0x12"]);
    let said = String::from_utf8_lossy(&out.stdout).into_owned();
    assert_eq!(out.status.code(), Some(1));
    assert!(said.contains(&format!("{A} is LISTED")) && said.contains(&format!("{B} is on no list")), "{said}");
    assert!(stderr(&out).contains("nonsense") && stderr(&out).contains("0x12"), "{}", stderr(&out));
    place.ok(&["watchlist", "add", C, "--list", "future", "--listed-from", "2099-01-01"]);
    for (words, code) in [(vec![A], 10), (vec![B], 0), (vec![B, A], 10), (vec![C], 0), (vec![A, "x"], 1)] {
        let out = place.run(&[&["watchlist", "check", "--exit-code"][..], &words].concat());
        assert_eq!(out.status.code(), Some(code), "{words:?}");
    }
    assert_eq!(place.run(&["watchlist", "check", A]).status.code(), Some(0), "only where it is asked for");
    let out = with_input(&place, &["watchlist", "check", "--stdin", "--exit-code"], &format!("{B}\n{A}\n"));
    assert_eq!(out.status.code(), Some(10));
}

#[test]
fn busy_addresses_are_named_when_they_come_onto_a_list() {
    let place = Place::new();
    let warned = |args: &[&str]| {
        let out = place.run(args);
        assert!(out.status.success(), "{}", stderr(&out));
        stderr(&out)
    };
    for (address, what) in [
        ("0x0000000000000000000000000000000000000000", "the zero address"),
        ("0xC02aaA39b223FE8D0A0e5C4F27eAD9083C756Cc2", "WETH"),
        ("0xdac17f958d2ee523a2206206994597c13d831ec7", "the token USDT"),
        ("0x7a250d5630B4cF539739dF2C5dAcb4c659F2488D", "the router of Uniswap v2"),
    ] {
        let said = warned(&["watchlist", "add", address]);
        assert!(said.contains(what) && said.contains("thousands of alerts"), "{said}");
    }
    write(&place, "some.csv", format!("address\n{A}\n0x68b3465833fb72A70ecDF485E0e4C7bD8665Fc45\n"));
    let said = warned(&["watchlist", "import", "some.csv"]);
    assert!(said.contains("SwapRouter02") && !said.contains(A), "{said}");
    assert!(!warned(&["watchlist", "add", A]).contains("thousands"));
}

#[test]
fn hidden_characters_in_what_comes_onto_a_list_are_warned_of_once() {
    let place = Place::new();
    let hidden = |args: &[&str]| {
        let out = place.run(args);
        assert!(out.status.success(), "{}", stderr(&out));
        stderr(&out).lines().filter(|line| line.contains("hidden characters")).map(str::to_owned).collect::<Vec<_>>()
    };
    let add = ["watchlist", "add", A, B, "--label"];
    for (label, shown) in
        [("Laz\u{200b}arus", "Laz\\u{200b}arus"), ("\u{202e}suraz", "\\u{202e}suraz"), ("L\u{e0041}", "L\\u{e0041}")]
    {
        let said = hidden(&[&add[..], &[label]].concat());
        assert!(
            said.len() == 1
                && said[0].contains(&format!("1 text has hidden characters, first the label of {A}: \"{shown}\"")),
            "{said:?}"
        );
    }
    assert!(hidden(&["watchlist", "add", A, "--entity", "\u{2066}Group"])[0].contains("the entity of"));
    assert!(hidden(&[&add[..], &["Lazarus"]].concat()).is_empty());
    write(
        &place,
        "l.csv",
        format!("address,label,entity\n{A},plain,plain\n{B},zw\u{200d}j,soft\u{ad}hyphen\n{C},plain,iso\u{2069}late\n"),
    );
    let said = hidden(&["watchlist", "import", "l.csv"]);
    assert!(
        said.len() == 1 && said[0].contains("3 texts have hidden characters") && said[0].contains("zw\\u{200d}j"),
        "{said:?}"
    );
    write(&place, "l.json", format!("[{{\"address\": \"{A}\", \"label\": \"a\\u202eb\"}}]"));
    assert_eq!(hidden(&["watchlist", "import", "l.json"]).len(), 1);
    let out = place.run(&["query", "--label", "\u{200b}\u{feff}"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(stderr(&out).contains("nothing but hidden characters"), "{}", stderr(&out));
}

#[test]
fn a_date_in_the_name_of_a_file_is_suggested_where_it_is_not_used() {
    let place = Place::new();
    for (name, date) in [
        ("2022-11-10.json", "2022-11-10"),
        ("sdn_20240502.txt", "2024-05-02"),
        ("a 2023-01-31 b.csv", "2023-01-31"),
        ("list-2021-06-30.v2.json", "2021-06-30"),
    ] {
        let text = if name.ends_with("json") { format!("[\"{A}\"]") } else { format!("address\n{A}\n") };
        write(&place, name, if name.ends_with("txt") { format!("{A}\n") } else { text });
        let out = place.run(&["watchlist", "import", name, "--list", "l"]);
        assert!(out.status.success(), "{}", stderr(&out));
        assert!(stderr(&out).contains(&format!("--published {date}")), "{name}: {}", stderr(&out));
        let out = place.run(&["watchlist", "import", name, "--list", "l", "--published", date]);
        assert!(out.status.success() && !stderr(&out).contains("its name says"), "{}", stderr(&out));
    }
}

#[test]
fn a_file_that_is_no_list_is_named_for_what_it_is() {
    let place = Place::new();
    let utf16: Vec<u8> = format!("address\n{A}\n").encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked: Vec<u8> = [&[0xff, 0xfe][..], &utf16].concat();
    let latin = [b"address,label\n".as_slice(), A.as_bytes(), b",Caf\xe9\n"].concat();
    let latin_text = [A.as_bytes(), b" Andr\xe9\n"].concat();
    let mut office = zip::write::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for name in ["[Content_Types].xml", "xl/workbook.xml", "xl/worksheets/sheet1.xml"] {
        office.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    }
    let office = office.finish().unwrap().into_inner();
    for (bytes, what) in [
        (b"\x1f\x8b\x08\0xxxx".to_vec(), "gzip"),
        (b"\x28\xb5\x2f\xfdxxxx".to_vec(), "zstd"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1".to_vec(), "Excel"),
        (office, "Excel workbook"),
        (marked, "UTF-16"),
        (utf16, "UTF-16 without a mark"),
        (latin, "Latin-1"),
        (latin_text, "Latin-1"),
        (b"{\\rtf1 x}".to_vec(), "rich text"),
        (b"%PDF-1.7\n".to_vec(), "PDF"),
    ] {
        write(&place, "list.csv", bytes);
        let out = place.run(&["watchlist", "import", "list.csv"]);
        assert_eq!(out.status.code(), Some(1), "{what}");
        assert!(stderr(&out).contains(what), "{what}: {}", stderr(&out));
        assert_eq!(stderr(&out).lines().count(), 1, "{what}: {}", stderr(&out));
    }
}

#[test]
fn columns_that_are_not_read_are_named_and_can_be_mapped() {
    let place = Place::new();
    let import = |text: &str, more: &[&str]| {
        write(&place, "list.csv", text);
        let out = place.run(&[&["watchlist", "import", "list.csv", "--list", "l"][..], more].concat());
        (out.status.code(), stderr(&out))
    };
    let (code, said) = import(&format!("address,label,Risk Score,owner\n{A},x,9,z\n"), &[]);
    assert_eq!(code, Some(0), "{said}");
    assert_eq!(said.matches("columns that are not read: risk score, owner").count(), 1, "{said}");
    // Mapped by name, in any case; another column that would be the field is free then.
    let rows = format!("Wallet;Owner;label\n{A};Ring;x\n{B};Ring;y\n");
    let (code, said) = import(&rows, &["--column", "address=wallet", "--column", "entity=OWNER"]);
    assert_eq!(code, Some(0), "{said}");
    let entry = &entries(&place, "l")[0];
    assert_eq!((&entry["entity"], &entry["label"]), (&"Ring".into(), &"x".into()));
    let (code, said) = import(&format!("address,name,alias\n{A},x,real\n"), &["--column", "label=alias"]);
    assert_eq!((code, &entries(&place, "l")[0]["label"]), (Some(0), &"real".into()), "{said}");
    // A header that is not understood is said once, with what is there.
    for header in ["wallet,Name", "Ethereum wallet address,label", "ethereum_wallet_address;label", "acct\tname\tx"] {
        let separator = if header.contains(';') {
            ";"
        } else if header.contains('\t') {
            "\t"
        } else {
            ","
        };
        let rows = [A, B, C].map(|address| format!("{address}{separator}x\n")).concat();
        let (code, said) = import(&format!("{header}\n{rows}"), &[]);
        assert_eq!((code, said.lines().count()), (Some(1), 1), "{header}: {said}");
        assert!(said.contains("no column named address") && said.contains("--column address=NAME"), "{header}: {said}");
    }
    for (column, why) in [
        ("wallet", "it has no ="),
        ("adress=wallet", "there is no field"),
        ("address=", "no name"),
        ("address=nowhere", "no column named nowhere"),
    ] {
        let (code, said) = import(&rows, &["--column", column]);
        assert_eq!(code, Some(1), "{column}");
        assert!(said.contains(why), "{column}: {said}");
    }
    let out = place.run(&["watchlist", "import", "list.csv", "--format", "json", "--column", "address=x"]);
    assert!(stderr(&out).contains("--column is for CSV"), "{}", stderr(&out));
}

#[test]
fn a_column_of_kinds_is_the_kind_of_the_list_where_its_rows_agree() {
    let place = Place::new();
    let import = |name: &str, text: &str, more: &[&str]| {
        write(&place, name, text);
        let out = place.run(&[&["watchlist", "import", name][..], more].concat());
        (out.status.code(), stderr(&out))
    };
    let kind = |list: &str| {
        lists(&place).as_array().unwrap().iter().find(|found| found["name"] == list).map(|found| found["kind"].clone())
    };
    assert_eq!(import("one.csv", &format!("address,kind\n{A},Blocking\n{B},blocking\n{C},\n"), &[]).0, Some(0));
    assert_eq!(kind("one"), Some("blocking".into()));
    let json = format!("[{{\"address\":\"{A}\",\"kind\":\"own\",\"score\":3}}]");
    let (code, said) = import("two.json", &json, &[]);
    assert_eq!((code, kind("two")), (Some(0), Some("own".into())), "{said}");
    assert!(said.contains("names that are not read: score"), "{said}");
    let (code, said) = import("three.csv", &format!("address,kind\n{A},own\n{B},blocking\n"), &[]);
    assert_eq!(code, Some(1));
    assert!(said.contains("\"own\" in line 2, \"blocking\" in line 3") && said.contains("split it"), "{said}");
    assert_eq!(kind("three"), None);
    let (code, said) = import("four.csv", &format!("address,kind\n{A},exchange\n"), &[]);
    assert!(code == Some(1) && said.contains("write one of blocking"), "{said}");
    let (code, said) = import("five.csv", &format!("address,kind\n{A},own\n"), &["--kind", "advisory"]);
    assert_eq!((code, kind("five")), (Some(0), Some("advisory".into())));
    assert!(said.contains("the file says own, and --kind says advisory"), "{said}");
    // The very same file as another kind: the kind changes, and that is said.
    write(&place, "six.txt", A);
    place.ok(&["watchlist", "import", "six.txt"]);
    for other in ["blocking", "own", "advisory"] {
        let said = place.ok(&["watchlist", "import", "six.txt", "--kind", other]);
        assert!(said.contains("only its kind has changed") && !said.contains("nothing to change"), "{said}");
        assert_eq!(kind("six"), Some(other.into()));
        assert!(place.ok(&["watchlist", "import", "six.txt", "--kind", other]).contains("nothing to change"));
    }
}

#[test]
fn an_older_file_after_an_undated_newer_one_makes_no_list_overdue() {
    let place = Place::new();
    write(&place, "bolo.toml", "[[list]]\nname = \"l\"\nmax_age = \"30d\"\n");
    let overdue = || {
        let said = place.run(&["status", "--config", "bolo.toml", "--format", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        let list = status["lists"][0].clone();
        (list["overdue"] == true, list["published"].as_str().unwrap_or_default().to_owned())
    };
    let import = |text: &str, more: &[&str]| {
        write(&place, "l.txt", text);
        place.ok(&[&["watchlist", "import", "l.txt"][..], more].concat());
    };
    import(&format!("{A}\n{B}\n"), &[]);
    let (_, today) = overdue();
    for (text, date) in [(A, "2022-01-01"), (B, "2024-01-01"), (C, "2023-01-01")] {
        import(text, &["--published", date]);
        assert_eq!(overdue(), (false, today.clone()), "{date}");
    }
    assert!(place.ok(&["status"]).contains("2 entries"));
    // The date of a file that is the newest counts.
    let place = Place::new();
    write(&place, "bolo.toml", "[[list]]\nname = \"l\"\nmax_age = \"30d\"\n");
    for date in ["2024-06-01", "2023-01-01"] {
        write(&place, "l.txt", format!("{A} {date}\n"));
        place.ok(&["watchlist", "import", "l.txt", "--published", date]);
        let said = place.run(&["status", "--config", "bolo.toml", "--format", "json"]);
        let status: serde_json::Value = serde_json::from_slice(&said.stdout).unwrap();
        assert_eq!(
            (&status["lists"][0]["overdue"], &status["lists"][0]["published"]),
            (&true.into(), &"2024-06-01".into())
        );
    }
}

#[test]
fn words_that_belong_to_no_option_are_told_with_the_option_that_was_meant() {
    let place = Place::new();
    place.ok(&["watchlist", "add", A, "--list", "l"]);
    let hash = format!("0x{}", "ab".repeat(32));
    for (word, option) in
        [(A, "--address"), (&A[2..], "--address"), (hash.as_str(), "--tx"), ("vitalik.eth", "--address")]
    {
        let out = place.run(&["query", word]);
        assert_eq!(out.status.code(), Some(1), "{word}");
        assert!(stderr(&out).contains(&format!("bolo query {option} {word}")), "{}", stderr(&out));
    }
    for word in [A, &A[2..], &A.to_lowercase()] {
        for range in [&[][..], &["--from-block", "1", "--to-block", "2"]] {
            let out = place.run(&[&["attest", word], range].concat());
            assert_eq!(out.status.code(), Some(1), "{word}");
            assert!(stderr(&out).contains(&format!("write --address {word}")), "{}", stderr(&out));
        }
    }
    assert_eq!(place.run(&["status", A]).status.code(), Some(2), "no option of it takes addresses");
    for alias in ["list", "ls", "show"] {
        assert!(place.ok(&["watchlist", alias]).contains(A), "{alias}");
    }
    place.ok(&["watchlist", "rm", A]);
}
