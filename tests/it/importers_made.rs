//! Lists made at random, written in every format: each must give just the addresses that its maker put there.

use std::collections::BTreeSet;
use std::io::Cursor;

use alloy::primitives::Address;
use bolo::lists::{ParsedList, Source, parse};
use serde_json::json;
use sha2::{Digest, Sha256};

use crate::importers::read;
use crate::mutant::Random;

/// An address as a list may have it, and whether it is to be taken.
fn written(random: &mut Random) -> (String, Option<Address>) {
    let mut bytes = [0; 20];
    bytes.fill_with(|| random.below(256) as u8);
    let address = Address::from(bytes);
    let text = address.to_checksum(None);
    let at = 3 + random.below(38);
    let letters = text[2..].chars().filter(char::is_ascii_alphabetic).count();
    let upper = text[2..].chars().filter(char::is_ascii_uppercase).count();
    // One letter of another case makes a checksum; with two of each, one may be wrong and there still is one.
    let (mixed, very) = (upper > 0 && letters > upper, upper > 1 && letters > upper + 1);
    match random.below(12) {
        0 => (text, Some(address)),
        1 => (text.to_lowercase(), Some(address)),
        2 => (text.to_uppercase(), Some(address)),
        3 => (tron(address), Some(address)),
        4 => (format!("{}\u{200b}{}", &text[..at].to_lowercase(), &text[at..].to_lowercase()), Some(address)),
        5 => (format!("{} {}", &text[..at], &text[at..]), mixed.then_some(address)),
        6 => {
            let folded = text.replace('a', "а").replace('E', "Е").replace('c', "с");
            let taken = mixed || folded == text;
            (folded, taken.then_some(address))
        }
        7 => {
            let wrong: String = text.chars().enumerate().map(|(place, c)| flipped(place, c, at)).collect();
            let same = wrong == text || !very;
            (if same { text } else { wrong }, same.then_some(address))
        }
        8 => (text[..41].to_owned(), None),
        9 => (format!("{text}0"), None),
        10 => (format!("0x{}{}", &text[2..], &text[2..26]), None),
        _ => ("bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq".to_owned(), None),
    }
}

/// The first letter at or after a place in the other case.
fn flipped(place: usize, c: char, at: usize) -> char {
    match (place == at, c.is_ascii_uppercase()) {
        (false, _) => c,
        (true, true) => c.to_ascii_lowercase(),
        (true, false) => c.to_ascii_uppercase(),
    }
}

fn tron(address: Address) -> String {
    let mut bytes = vec![0x41];
    bytes.extend(address.as_slice());
    let sum = Sha256::digest(Sha256::digest(&bytes));
    bytes.extend(&sum[..4]);
    bs58::encode(bytes).into_string()
}

fn taken(list: &ParsedList) -> BTreeSet<Address> {
    list.entries.iter().map(|entry| entry.address).collect()
}

/// The same values in each format, as their publishers write them.
fn formats(values: &[String]) -> Vec<(&'static str, String)> {
    let all = |each: &dyn Fn(usize, &str) -> String| -> String {
        values.iter().enumerate().map(|(place, value)| each(place, value)).collect()
    };
    let types = all(&|i, _| format!("<FeatureType ID=\"{}\">Digital Currency Address - C{i}</FeatureType>", 70 + i));
    let prose = all(&|i, v| format!("Wallet {i}: {v}, used since then;\n"));
    vec![
        ("text", all(&|_, v| format!("{v}\n"))),
        ("csv", format!("address;label\n{}", all(&|i, v| format!("{v};l{i}\n")))),
        ("json", json!(values).to_string()),
        ("json by ticker", json!({"ETH": values}).to_string()),
        (
            "ofac-enhanced",
            format!(
                "<sanctionsData><entities><entity id='1'><features>{}</features></entity></entities></sanctionsData>",
                all(&|i, v| format!(
                    "<feature><type>Digital Currency Address - C{i}</type><value>{v}</value></feature>"
                ))
            ),
        ),
        (
            "ofac-advanced",
            format!(
                "<Sanctions><ReferenceValueSets><FeatureTypeValues>{types}</FeatureTypeValues></ReferenceValueSets>\
                 <DistinctParties><DistinctParty FixedRef='1'><Profile ID='2'>{}</Profile></DistinctParty></DistinctParties>\
                 </Sanctions>",
                all(&|i, v| format!(
                    "<Feature FeatureTypeID='{}'><FeatureVersion><VersionDetail>{v}</VersionDetail></FeatureVersion></Feature>",
                    70 + i
                ))
            ),
        ),
        (
            "ofac-sdn",
            format!(
                "<sdnList><sdnEntry><uid>1</uid><idList>{}</idList></sdnEntry></sdnList>",
                all(&|i, v| format!(
                    "<id><idType>Digital Currency Address - C{i}</idType><idNumber>{v}</idNumber></id>"
                ))
            ),
        ),
        (
            "opensanctions",
            all(&|i, v| {
                json!({"id": format!("w{i}"), "caption": v, "schema": "CryptoWallet", "properties": {"publicKey": [v]}})
                    .to_string()
                    + "\n"
            }),
        ),
        (
            "opensanctions-csv",
            format!("id,schema,name,aliases\n{}", all(&|i, v| format!("w{i},CryptoWallet,\"{v}\",\n"))),
        ),
        ("tagpack", format!("title: a, b\ncurrency: ETH\ntags:\n{}", all(&|_, v| format!("- address: '{v}'\n")))),
        (
            "uk",
            format!(
                "<Designations><Designation><UniqueID>1</UniqueID><OtherInformation>{prose}</OtherInformation>\
                 </Designation></Designations>"
            ),
        ),
        ("eu", format!("<export><sanctionEntity logicalId='1'><remark>{prose}</remark></sanctionEntity></export>")),
        (
            "stix",
            json!({"type": "bundle", "objects":
                values.iter().map(|v| json!({"type": "cryptocurrency-wallet", "value": v})).collect::<Vec<_>>()})
            .to_string(),
        ),
        (
            "misp",
            json!({"Event": {"Attribute":
                values.iter().map(|v| json!({"type": "btc", "value": v})).collect::<Vec<_>>()}})
            .to_string(),
        ),
    ]
}

/// `sdn.csv` with its remark cut at the thousandth character, wherever that is.
fn cut(values: &[String]) -> ParsedList {
    let remarks: String =
        values.iter().map(|v| format!("Digital Currency Address - ETH {v}; ")).collect::<String>() + "a.k.a. 'X'.";
    let (head, rest): (String, String) = (remarks.chars().take(1000).collect(), remarks.chars().skip(1000).collect());
    let columns = "-0- ,".repeat(7);
    let sdn = format!("7,\"X\",-0- ,\"CYBER2\",{columns}\"{head}\"\r\n");
    let mut comments = Cursor::new(format!("7,\"{rest}\"\r\n").into_bytes());
    let mut sdn = Cursor::new(sdn.into_bytes());
    let mut comments = Source::open(&mut comments).unwrap();
    parse(&mut Source::open(&mut sdn).unwrap(), Some(&mut comments), None, &mut |_| {}).unwrap()
}

#[test]
fn lists_made_at_random_give_just_what_was_put_there_in_every_format() {
    let mut random = Random::new(11);
    let mut seen = 0;
    for round in 0..60 {
        let made: Vec<(String, Option<Address>)> = (0..=random.below(40)).map(|_| written(&mut random)).collect();
        let values: Vec<String> = made.iter().map(|(text, _)| text.clone()).collect();
        let wanted: BTreeSet<Address> = made.iter().filter_map(|(_, address)| *address).collect();
        seen += wanted.len();
        for (format, text) in formats(&values) {
            let list = read(text.as_bytes()).unwrap_or_else(|error| panic!("{format}: {error}\n{text}"));
            assert!(format.starts_with(list.format.name()), "{format} was read as {}", list.format.name());
            assert_eq!(taken(&list), wanted, "round {round}, {format}: {made:?}");
            let least = list.counts.accepted + list.counts.derived;
            assert_eq!(least, made.iter().filter(|(_, address)| address.is_some()).count() as u64, "{format}");
            assert_eq!(list.counts.candidates, values.len() as u64, "round {round}, {format}: each is accounted for");
        }
        assert_eq!(taken(&cut(&values)), wanted, "round {round}, cut remarks");
    }
    assert!(seen > 300, "{seen}");
}
