//! Reads XML as a stream of elements with their text and attributes. Namespaces are left out of account: publishers change them from
//! year to year. Nothing outside the file is ever looked at, and a file that defines entities of its own is refused.

use std::io::{BufRead, Read};

use quick_xml::events::{BytesStart, Event};
use quick_xml::{Reader, XmlVersion};

use super::source::LONGEST;

/// No list is nested deeper.
const DEEPEST: usize = 64;

/// The beginning or the end of an element.
pub(super) enum Node<'a> {
    /// An element begins, in that line.
    Open(&'a Attributes, u64),
    /// It ends: its own text, without that of elements within it, and the line of its end.
    Close(&'a str, u64),
}

/// Attributes of the element at hand, by their names without prefix.
#[derive(Default)]
pub(super) struct Attributes {
    all: Vec<(String, String)>,
}

impl Attributes {
    /// The value of an attribute; none where it is empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all.iter().find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// All of them, as the file has them.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.all.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

/// Walks through a file. Paths are local names from the root's down: `/sdnList/sdnEntry/uid`.
///
/// # Errors
/// One line: it is not well-formed, ends too early, or has what is refused.
pub(super) fn walk(
    bytes: &mut dyn BufRead,
    each: &mut dyn FnMut(&str, Node<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let mut reader = Reader::from_reader(Counted { inner: bytes, line: 1, since: 0 });
    let mut buffer = Vec::new();
    let mut path = String::new();
    // Where the name of each open element ends in the path's beginning, and its text so far.
    let mut open: Vec<(usize, String)> = Vec::new();
    let mut attributes = Attributes::default();
    let mut any = false;
    loop {
        buffer.clear();
        reader.get_mut().since = 0;
        let event = match reader.read_event_into(&mut buffer) {
            Ok(event) => event,
            Err(error) => return Err(format!("line {}: {error}", reader.get_mut().line)),
        };
        let empty = matches!(event, Event::Empty(_));
        match event {
            Event::Start(start) | Event::Empty(start) => {
                if open.len() == DEEPEST {
                    return Err(format!("its elements are nested more than {DEEPEST} deep"));
                }
                if open.is_empty() && any {
                    return Err("it has more than one root element".to_owned());
                }
                any = true;
                let before = path.len();
                path.push('/');
                path.push_str(start.local_name().as_ref());
                read_attributes(&start, &mut attributes)?;
                open.push((before, String::new()));
                each(&path, Node::Open(&attributes, reader.get_mut().line))?;
                if empty {
                    open.pop();
                    each(&path, Node::Close("", reader.get_mut().line))?;
                    path.truncate(before);
                }
            }
            Event::End(_) => {
                let (before, text) = open.pop().ok_or("an element ends that never began")?;
                each(&path, Node::Close(&text, reader.get_mut().line))?;
                path.truncate(before);
            }
            Event::Text(text) => push(&mut open, &text.xml10_content())?,
            Event::CData(text) => push(&mut open, &text.xml10_content())?,
            Event::GeneralRef(name) => {
                let text = match name.resolve_char_ref().map_err(|error| error.to_string())? {
                    Some(c) => c.to_string(),
                    None => match quick_xml::escape::resolve_predefined_entity(&name.xml10_content()) {
                        Some(text) => text.to_owned(),
                        None => return Err(format!("the entity &{};: only XML's own five are read", &*name)),
                    },
                };
                push(&mut open, &text)?;
            }
            Event::DocType(doctype) => {
                let doctype = doctype.into_inner();
                if doctype.contains('[') || doctype.contains("<!") {
                    return Err("its DOCTYPE defines things of its own (entities, perhaps): refused".to_owned());
                }
            }
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
            Event::Eof => break,
        }
    }
    match (any, open.len()) {
        (false, _) => Err("it has no element".to_owned()),
        (true, 0) => Ok(()),
        (true, _) => Err(format!("it ends within {path}: it was cut off")),
    }
}

fn push(open: &mut [(usize, String)], text: &str) -> Result<(), String> {
    let Some((_, held)) = open.last_mut() else {
        let blank = text.chars().all(|c| c.is_whitespace() || c == '\u{feff}');
        return if blank { Ok(()) } else { Err("it has text outside its root element".to_owned()) };
    };
    if held.len() + text.len() > LONGEST {
        return Err(format!("a text is longer than {} MiB", LONGEST >> 20));
    }
    held.push_str(text);
    Ok(())
}

fn read_attributes(start: &BytesStart<'_>, into: &mut Attributes) -> Result<(), String> {
    into.all.clear();
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|error| error.to_string())?;
        let value = attribute.normalized_value(XmlVersion::Implicit1_0).map_err(|error| error.to_string())?;
        into.all.push((attribute.key.local_name().as_ref().to_owned(), value.into_owned()));
    }
    Ok(())
}

/// Counts lines, and refuses a tag or text that does not end.
struct Counted<'a> {
    inner: &'a mut dyn BufRead,
    line: u64,
    since: usize,
}

impl Read for Counted<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.inner.read(buffer)
    }
}

impl BufRead for Counted<'_> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        if self.since > LONGEST {
            return Err(std::io::Error::other(format!("a tag or text is longer than {} MiB", LONGEST >> 20)));
        }
        self.inner.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if let Ok(seen) = self.inner.fill_buf() {
            self.line += memchr::memchr_iter(b'\n', &seen[..amount.min(seen.len())]).count() as u64;
        }
        self.since += amount;
        self.inner.consume(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(xml: &str) -> Result<Vec<(String, String, u64)>, String> {
        let mut all = Vec::new();
        walk(&mut xml.as_bytes(), &mut |path, node| {
            if let Node::Close(text, line) = node {
                all.push((path.to_owned(), text.to_owned(), line));
            }
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn text_is_put_together_around_comments_sections_and_references() {
        let found = texts(
            "<?xml version='1.0'?>\n<!DOCTYPE a>\n<n:a xmlns:n='x'>\n<b>1<!-- - -->2<![CDATA[<3>]]>&amp;&#52;</b><c/></n:a>",
        );
        let wanted = [("/a/b", "12<3>&4", 4), ("/a/c", "", 4), ("/a", "\n", 4)];
        assert_eq!(found.unwrap(), wanted.map(|(path, text, line)| (path.to_owned(), text.to_owned(), line)));
    }

    #[test]
    fn entities_of_its_own_and_files_that_end_early_are_refused() {
        for (bad, reason) in [
            ("<!DOCTYPE a [<!ENTITY x 'y'>]><a>&x;</a>", "DOCTYPE"),
            ("<!DOCTYPE a [<!ENTITY x SYSTEM 'file:///etc/passwd'>]><a>&x;</a>", "DOCTYPE"),
            ("<!DOCTYPE a SYSTEM 'http://example.org/a.dtd'><a>&x;</a>", "only XML's own"),
            ("<a>&x;</a>", "only XML's own"),
            ("<a><b>1</b>", "cut off"),
            ("<a><b>1</a>", ""),
            ("<a/><a/>", "more than one root"),
            ("<a/> more", "outside its root"),
            ("more <a/>", "outside its root"),
            ("", "no element"),
        ] {
            let error = texts(bad).unwrap_err();
            assert!(error.contains(reason), "{bad}: {error}");
        }
        assert!(texts(&"<a>".repeat(70)).unwrap_err().contains("nested"));
    }
}
