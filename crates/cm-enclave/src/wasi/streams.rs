//! The standard streams, which are files of the names and with the rights that the policy says.

use cm_instance::policy::StreamEntry;
use cm_instance::{GuestPath, Rights};

use crate::vfs::{Handle, OpenOptions, View};

/// Opens the three streams. One that cannot be opened is none: a program must be able to run without.
pub(crate) fn open_streams(view: &mut View, streams: &[StreamEntry]) -> [Option<Handle>; 3] {
    view.begin("std_streams");
    [0, 1, 2].map(|number| {
        let entry = streams.iter().find(|entry| entry.descriptor() == number)?;
        open(view, entry, entry.file_right().file_name.path())
    })
}

fn open(view: &mut View, entry: &StreamEntry, path: &GuestPath) -> Option<Handle> {
    let held = view.rights_on(path);
    if !held.contains(Rights::PATH_OPEN) {
        return None;
    }
    let options = match entry {
        StreamEntry::Stdin(_) => OpenOptions { wanted: held, ..OpenOptions::default() },
        StreamEntry::Stdout(_) | StreamEntry::Stderr(_) => OpenOptions {
            wanted: held,
            create: held.contains(Rights::PATH_CREATE_FILE),
            truncate: held.contains(Rights::PATH_FILESTAT_SET_SIZE),
            append: true,
            ..OpenOptions::default()
        },
    };
    view.open(None, path.as_str(), options).ok()
}
