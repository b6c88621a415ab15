//! The formats, their names, and how they are told apart by content.

/// A list format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One address a line, with an optional label after white space or a comma; `#` begins a comment.
    Text,
    /// A header line with a column `address`; known columns: label (or name), entity, programs (separated by `;` or `,`), listed_from,
    /// delisted_on, aliases, uid, currency, kind.
    Csv,
    /// An array of addresses, or of objects with the same names as the CSV's columns; or an object of such arrays.
    Json,
    /// OFAC's `sdn.csv`, whose remarks go on in `sdn_comments.csv`.
    OfacCsv,
    /// OFAC's `sdn_comments.csv`, which is no list by itself.
    OfacComments,
    /// OFAC's `SDN_ENHANCED.XML`.
    OfacEnhanced,
    /// OFAC's `SDN_ADVANCED.XML`.
    OfacAdvanced,
    /// OFAC's `SDN.XML`.
    OfacSdn,
    /// What OFAC changed in one publication.
    OfacDelta,
    /// OpenSanctions' `entities.ftm.json`.
    OpenSanctions,
    /// OpenSanctions' `targets.simple.csv`.
    OpenSanctionsCsv,
    /// The UK sanctions list in XML.
    Uk,
    /// The EU's consolidated list of financial sanctions in XML.
    Eu,
    /// A GraphSense TagPack.
    TagPack,
    /// A STIX 2 bundle.
    Stix,
    /// A MISP event.
    Misp,
}

impl Format {
    /// All formats with their names on the command line and in the store.
    pub const ALL: [(Self, &'static str); 16] = [
        (Self::Text, "text"),
        (Self::Csv, "csv"),
        (Self::Json, "json"),
        (Self::OfacCsv, "ofac-csv"),
        (Self::OfacComments, "ofac-comments"),
        (Self::OfacEnhanced, "ofac-enhanced"),
        (Self::OfacAdvanced, "ofac-advanced"),
        (Self::OfacSdn, "ofac-sdn"),
        (Self::OfacDelta, "ofac-delta"),
        (Self::OpenSanctions, "opensanctions"),
        (Self::OpenSanctionsCsv, "opensanctions-csv"),
        (Self::Uk, "uk"),
        (Self::Eu, "eu"),
        (Self::TagPack, "tagpack"),
        (Self::Stix, "stix"),
        (Self::Misp, "misp"),
    ];

    /// The name on the command line and in the store.
    pub fn name(self) -> &'static str {
        Self::ALL.iter().find(|(format, _)| *format == self).map_or("", |(_, name)| name)
    }

    /// The format of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(_, known)| *known == name).map(|(format, _)| *format)
    }

    /// Whether people write it themselves, and so can mend it: a mistake in it then stops the import. In a publisher's file it is
    /// shown and counted, since leaving out the whole list for it would miss more.
    pub fn is_own(self) -> bool {
        matches!(self, Self::Text | Self::Csv | Self::Json)
    }

    /// Whether a file that is cut off cannot be read: XML and JSON are closed at their end, lines are not.
    pub fn shows_its_end(self) -> bool {
        match self {
            Self::Json
            | Self::OfacEnhanced
            | Self::OfacAdvanced
            | Self::OfacSdn
            | Self::OfacDelta
            | Self::Uk
            | Self::Eu
            | Self::Stix
            | Self::Misp => true,
            Self::Text
            | Self::Csv
            | Self::OfacCsv
            | Self::OfacComments
            | Self::OpenSanctions
            | Self::OpenSanctionsCsv
            | Self::TagPack => false,
        }
    }

    /// Whether its publisher writes into each file of when it is.
    pub(super) fn has_a_date(self) -> bool {
        matches!(
            self,
            Self::OfacEnhanced
                | Self::OfacAdvanced
                | Self::OfacSdn
                | Self::OfacDelta
                | Self::Uk
                | Self::Eu
                | Self::OpenSanctions
                | Self::OpenSanctionsCsv
        )
    }

    /// By what the file begins with (without a byte order mark).
    ///
    /// # Errors
    /// One line: it is none that bolo reads.
    pub fn recognise(head: &[u8]) -> Result<Self, String> {
        let text = String::from_utf8_lossy(head);
        let text = text.trim_start();
        if text.starts_with('<') {
            return by_root(text);
        }
        Ok(if text.starts_with(['[', '{']) { by_members(text) } else { by_lines(text) })
    }
}

/// XML, by the root element's name, whatever its namespace.
fn by_root(text: &str) -> Result<Format, String> {
    let mut rest = text;
    let tag = loop {
        rest = rest.trim_start();
        let end = match rest.as_bytes() {
            [b'<', b'!', b'-', b'-', ..] => rest.find("-->").map(|at| at + 2),
            [b'<', b'?', ..] => rest.find('>'),
            // What it defines is refused when it is read.
            [b'<', b'!', ..] => {
                let end = rest.find('>').filter(|end| !rest[..*end].contains('['));
                end.or_else(|| rest.find("]>").map(|at| at + 1))
            }
            _ => break rest,
        };
        rest = end.map_or("", |at| &rest[at + 1..]);
    };
    let tag = tag.strip_prefix('<').unwrap_or_default();
    let name = tag.split(|c: char| c.is_whitespace() || c == '>' || c == '/').next().unwrap_or_default();
    Ok(match name.rsplit(':').next().unwrap_or_default() {
        "sdnList" => Format::OfacSdn,
        "Sanctions" => Format::OfacAdvanced,
        "sanctionsData" if is_delta(tag) => Format::OfacDelta,
        "sanctionsData" => Format::OfacEnhanced,
        "Designations" => Format::Uk,
        "export" => Format::Eu,
        "html" | "HTML" => return Err("it is a web page and no list".to_owned()),
        other => return Err(format!("it is XML of a form that bolo does not read (its root element is {other:?})")),
    })
}

/// A file of changes says so in its namespace; where that changes too, in what it calls its date.
fn is_delta(text: &str) -> bool {
    let head = text.find("<entities").map_or(text, |at| &text[..at]);
    head.split('>').next().is_some_and(|tag| tag.to_lowercase().contains("delta"))
        || (head.contains("datePublished>") && !head.contains("dataAsOf"))
}

/// JSON: an array, one object, or an object in each line.
fn by_members(text: &str) -> Format {
    let first = text.lines().next().unwrap_or_default();
    let has = |name: &str| first.contains(&format!("\"{name}\""));
    if first.starts_with('{') && has("schema") && has("properties") && has("id") {
        return Format::OpenSanctions;
    }
    let head: String = text.chars().filter(|c| !c.is_whitespace()).take(4096).collect();
    if head.starts_with('{') && head.contains(r#""type":"bundle""#) {
        Format::Stix
    } else if head.starts_with(r#"{"Event":"#) || head.starts_with(r#"{"response":[{"Event":"#) {
        Format::Misp
    } else {
        Format::Json
    }
}

fn by_lines(text: &str) -> Format {
    let first = text.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with('#')).unwrap_or_default();
    if let Some((number, rest)) = first.split_once(',')
        && !number.is_empty()
        && number.bytes().all(|b| b.is_ascii_digit())
    {
        // No header: the number of an entry, its name and ten more columns; or its number and a remark in quotes.
        let columns = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(text.as_bytes())
            .byte_records()
            .next()
            .and_then(Result::ok)
            .map_or(0, |record| record.len());
        match columns {
            12 => return Format::OfacCsv,
            2 if rest.trim_start().starts_with('"') => return Format::OfacComments,
            _ => {}
        }
    }
    let columns: Vec<&str> = first.split(',').map(|name| name.trim().trim_matches('"')).collect();
    if columns.starts_with(&["id", "schema", "name"]) {
        return Format::OpenSanctionsCsv;
    }
    if text.lines().any(|line| line.trim_end() == "tags:") && first.contains(':') {
        return Format::TagPack;
    }
    // A header names columns: it has a separator, and no field of it is an address or tries to be one.
    let mut fields = first.split([',', ';', '\t']).map(|field| field.trim().trim_matches('"'));
    let names = fields.clone().any(|name| name.eq_ignore_ascii_case("address"))
        || first.contains([',', ';', '\t'])
            && !fields.any(|field| {
                field.len() >= 20 && field.contains(|c: char| c.is_ascii_digit()) || field.starts_with("0x")
            });
    if names { Format::Csv } else { Format::Text }
}
