//! A list file on its way into the store; one of changes becomes the whole list that it makes of the present one.

use std::collections::{HashMap, HashSet};

use alloy::primitives::Address;

use super::Failure;
use super::list_import::Ready;
use super::watchlist::now;
use crate::lists::{Delta, ParsedEntry, show_date};
use crate::screen::ListKind;
use crate::store::{ImportCounts, ListFile, Store};

/// Imports a file. One of changes is applied to the list as it is, and nothing else changes the lists until it is imported.
pub(super) fn put(store: &mut Store, file: &mut Ready, kind: Option<ListKind>) -> Result<ImportCounts, Failure> {
    store.change_lists(|store| {
        if let Some(delta) = file.list.delta.take() {
            let added = std::mem::take(&mut file.list.entries);
            file.list.entries = changed(store, file, &delta, &added)?;
        }
        let source = file.path.file_name().unwrap_or(file.path.as_os_str()).to_string_lossy();
        let list_file = ListFile {
            list: &file.name,
            kind,
            published: file.published,
            imported_at: now(),
            source: &source,
            format: file.list.format.name(),
            sha256: file.sha256,
            entries: &file.list.entries,
            rejected: file.list.counts.rejected,
        };
        Ok(store.import_list(&list_file)?)
    })
}

/// What the list is after a file of changes.
fn changed(store: &Store, file: &Ready, delta: &Delta, added: &[ParsedEntry]) -> Result<Vec<ParsedEntry>, Failure> {
    let shown = file.path.display();
    let lists = store.lists()?;
    let Some(list) = lists.iter().find(|list| list.name == file.name) else {
        return Err(Failure::input(format!(
            "{shown}: it is a file of changes, and there is no list {:?} to change: name it with --list, or import a whole list first",
            file.name
        )));
    };
    // What it changes is what the list is now.
    if file.published.is_some_and(|published| published < list.published) {
        return Err(Failure::input(format!(
            "{shown}: it is a file of changes of {}, and the list {:?} is of {} already: take them in the order of their dates",
            show_date(file.published.unwrap_or_default()),
            file.name,
            show_date(list.published)
        )));
    }
    let news: HashSet<Address> = added.iter().map(|entry| entry.address).collect();
    let mut entries = Vec::new();
    let mut gone: HashMap<Address, Option<&String>> =
        delta.ended.iter().map(|(address, entity)| (*address, entity.as_ref())).collect();
    store.each_entry::<Failure>(None, Some(&file.name), None, |row| {
        let left = row.entity.as_ref().is_some_and(|entity| delta.entities.contains(entity));
        let ends = gone.remove(&row.address);
        // It may be listed for two: what ends for the one does not for the other.
        let other = ends.flatten().zip(row.entity.as_ref()).is_some_and(|(ended, held)| ended != held);
        if other {
            tracing::warn!("{shown}: it ends {}, which is on the list for another entity: kept", row.address);
        }
        if !news.contains(&row.address) && !left && (ends.is_none() || other) {
            entries.push(ParsedEntry {
                label: row.label,
                entity: row.entity,
                programs: row.programs,
                listed_from: row.listed_from,
                delisted_on: row.delisted_on,
                derived_from: row.derived_from,
                aliases: row.aliases,
                uid: row.uid,
                ..ParsedEntry::bare(row.address)
            });
        }
        Ok(())
    })?;
    for address in gone.keys().filter(|address| !news.contains(*address)) {
        tracing::warn!("{shown}: it ends {address}, which is not on the list: is a file of changes missing?");
    }
    entries.extend(added.iter().cloned());
    Ok(entries)
}
