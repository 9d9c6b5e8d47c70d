//! Reading two files that have the same record at the same offset, as long as one of them has it.

use std::path::Path;
use vigie_disk::record::Records;
use vigie_disk::{DiskError, DiskFile};

/// Two files, the second of which is written and synced after the first; or one.
pub(super) struct Twin<'a> {
    one: Side<'a>,
    other: Option<Side<'a>>,
    walked: Walked,
}

/// What a walk found.
pub(super) struct Walked {
    /// Where the good part ends.
    pub(super) end: u64,
    /// Where the second file first had nothing good; the largest number when it always had.
    pub(super) other_end: u64,
    /// Both files are good to their ends, and as long as each other.
    pub(super) is_whole: bool,
    /// Something stood in neither file.
    pub(super) has_hole: bool,
    pub(super) damage: Vec<DiskError>,
}

struct Side<'a> {
    file: &'a dyn DiskFile,
    len: u64,
    records: Records<'a>,
}

/// What stands at an offset of a file.
enum Here {
    Record(Vec<u8>),
    End,
    Bad(DiskError),
}

impl<'a> Side<'a> {
    fn new(file: &'a dyn DiskFile, start: u64) -> Result<Side<'a>, DiskError> {
        let len = file.len()?;
        Ok(Side { file, len, records: Records::new(file, start.min(len), len) })
    }

    fn path(&self) -> &'a Path {
        self.file.path()
    }

    /// Reads on from an offset.
    fn seek(&mut self, offset: u64) {
        if self.records.offset() != offset {
            self.records = Records::new(self.file, offset.min(self.len), self.len);
        }
    }

    fn next(&mut self) -> Result<Here, DiskError> {
        match self.records.next_payload() {
            Ok(Some(payload)) => Ok(Here::Record(payload.to_vec())),
            Ok(None) => Ok(Here::End),
            Err(error) if error.is_corrupt() => Ok(Here::Bad(error)),
            Err(error) => Err(error),
        }
    }

    /// Where a good record stands behind a bad one.
    fn behind(&mut self) -> Result<Option<u64>, DiskError> {
        Ok(self.records.skip()?.then(|| self.records.offset()))
    }
}

impl<'a> Twin<'a> {
    pub(super) fn new(
        one: &'a dyn DiskFile,
        other: Option<&'a dyn DiskFile>,
        start: u64,
    ) -> Result<Twin<'a>, DiskError> {
        let other = other.map(|file| Side::new(file, start)).transpose()?;
        let one = Side::new(one, start)?;
        let is_whole = other.as_ref().is_some_and(|other| other.len == one.len);
        let other_end = u64::MAX;
        let walked =
            Walked { end: start, other_end, is_whole, has_hole: false, damage: Vec::new() };
        Ok(Twin { one, other, walked })
    }

    /// Hands over every record that one of the files has. One that `take` refuses is damage.
    pub(super) fn walk(
        mut self,
        take: &mut dyn FnMut(&[u8]) -> Result<(), &'static str>,
    ) -> Result<Walked, DiskError> {
        loop {
            let offset = self.walked.end;
            self.one.seek(offset);
            let one = self.one.next()?;
            let other = match &mut self.other {
                Some(other) => {
                    other.seek(offset);
                    other.next()?
                }
                None => Here::End,
            };
            if self.other.is_some() && !matches!(other, Here::Record(_)) {
                self.walked.other_end = self.walked.other_end.min(offset);
            }
            let (payload, path) = match self.choose(one, other)? {
                Chosen::Record(payload, path) => (payload, path),
                Chosen::Over(next) => {
                    self.walked.end = next;
                    continue;
                }
                Chosen::End => return Ok(self.walked),
            };
            self.walked.end = offset + (vigie_disk::record::HEADER_BYTES + payload.len()) as u64;
            if let Err(what) = take(&payload) {
                self.damaged(DiskError::corrupt(path, offset, what));
                self.walked.has_hole = true;
            }
        }
    }

    fn choose(&mut self, one: Here, other: Here) -> Result<Chosen<'a>, DiskError> {
        let path = self.one.path();
        Ok(match (one, other) {
            (Here::Record(payload), Here::Record(same)) => {
                if payload != same {
                    self.other_is_bad(None)?;
                }
                Chosen::Record(payload, path)
            }
            // The copy is behind, or its end was not finished.
            (Here::Record(payload), Here::End) => {
                self.walked.is_whole = false;
                Chosen::Record(payload, path)
            }
            (Here::Record(payload), Here::Bad(error)) => {
                self.other_is_bad(Some(error))?;
                Chosen::Record(payload, path)
            }
            (Here::End, Here::End) => Chosen::End,
            (Here::Bad(error), Here::End) => self.over(error, None)?,
            // The first was synced before the second was written.
            (Here::End, Here::Record(payload)) => {
                let what = "the end of the list of series is lost here; the copy has it";
                self.damaged(DiskError::corrupt(path, self.walked.end, what));
                Chosen::Record(payload, self.other_path())
            }
            (Here::Bad(error), Here::Record(payload)) => {
                self.damaged(error);
                Chosen::Record(payload, self.other_path())
            }
            (Here::End, Here::Bad(second)) => {
                let what = "the end of the list of series is lost here, and in its copy too";
                let error = DiskError::corrupt(path, self.walked.end, what);
                self.over(error, Some(second))?
            }
            (Here::Bad(error), Here::Bad(second)) => self.over(error, Some(second))?,
        })
    }

    fn other_path(&self) -> &'a Path {
        self.other.as_ref().map_or(self.one.path(), Side::path)
    }

    fn damaged(&mut self, error: DiskError) {
        self.walked.is_whole = false;
        self.walked.damage.push(error);
    }

    /// The second file is bad where the first is good: damage, unless it is the end of an unfinished
    /// write.
    fn other_is_bad(&mut self, error: Option<DiskError>) -> Result<(), DiskError> {
        self.walked.is_whole = false;
        let Some(other) = &mut self.other else { return Ok(()) };
        match error {
            Some(error) => {
                if other.behind()?.is_some() {
                    self.walked.damage.push(error);
                }
            }
            None => {
                let what = "the copy of the list of series says something else";
                self.walked.damage.push(DiskError::corrupt(other.path(), self.walked.end, what));
                self.other = None;
            }
        }
        Ok(())
    }

    /// No file has a good record here: goes on where one has. At the end it is an unfinished write,
    /// unless the second file has bytes here: then the first was synced.
    fn over(
        &mut self,
        error: DiskError,
        second: Option<DiskError>,
    ) -> Result<Chosen<'a>, DiskError> {
        self.walked.is_whole = false;
        let mut next = self.one.behind()?;
        if let Some(other) = &mut self.other
            && let Some(at) = other.behind()?
        {
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        if next.is_some() || second.is_some() {
            self.damaged(error);
            self.walked.damage.extend(second);
            self.walked.has_hole = true;
        }
        Ok(next.map_or(Chosen::End, Chosen::Over))
    }
}

enum Chosen<'a> {
    Record(Vec<u8>, &'a Path),
    /// Nothing good stands before this offset.
    Over(u64),
    End,
}
