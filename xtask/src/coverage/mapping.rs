//! Repairs coverage mappings that end `llvm-cov` with a segmentation fault.
//!
//! With branch counters, rustc describes some async functions by branches alone. `llvm-cov` looks for
//! the function's file among its code regions and reads past the end of an empty list
//! (rust-lang/rust issue 157358, llvm/llvm-project pull request 189270). Such a function gets one
//! code region that was never run, at the place of its first branch; its branches stay as they are.
//!
//! The form of the section `__llvm_covfun` is described in LLVM's "Code Coverage Mapping Format":
//! records of a name (8 bytes), the length of the mapping (4), two hashes (8 each), the mapping, and
//! filling up to a multiple of 8.

use anyhow::{Context, bail, ensure};

const SECTION: &str = "__llvm_covfun";
const HEADER: usize = 28;
const ALIGNMENT: usize = 8;
/// The counter of a region that was never run, which is also the header of such a code region.
const ZERO: u64 = 0;
/// Region kinds in the header of a region whose counter tag is zero, behind three bits of tags.
const SKIPPED: u64 = 2;
const BRANCH: u64 = 4;

/// Gives the same program with a repaired section. What is no 64-bit little-endian ELF file, and what
/// has no such section, is given back as it is.
pub(crate) fn repair(mut program: Vec<u8>) -> anyhow::Result<Vec<u8>> {
    if program.get(..6) != Some(b"\x7fELF\x02\x01") {
        return Ok(program);
    }
    let Some(section) = find_section(&program)? else {
        return Ok(program);
    };
    let old = program
        .get(section.offset..section.offset + section.size)
        .context("the section is cut off")?;
    let repaired = repair_section(old)?;
    // The repaired section goes to the end of the file and its header points there.
    program.resize(program.len().next_multiple_of(ALIGNMENT), 0);
    let (offset, size) = (program.len() as u64, repaired.len() as u64);
    program.extend(repaired);
    program[section.header + 0x18..section.header + 0x20].copy_from_slice(&offset.to_le_bytes());
    program[section.header + 0x20..section.header + 0x28].copy_from_slice(&size.to_le_bytes());
    Ok(program)
}

struct Section {
    header: usize,
    offset: usize,
    size: usize,
}

/// Looks the section up in the ELF section headers.
fn find_section(program: &[u8]) -> anyhow::Result<Option<Section>> {
    let table = number(program, 0x28, 8)?;
    let (entry, count, names) = (
        number(program, 0x3a, 2)?,
        number(program, 0x3c, 2)?,
        number(program, 0x3e, 2)?,
    );
    let names = number(program, table + names * entry + 0x18, 8)?;
    for index in 0..count {
        let header = table + index * entry;
        let name = names + number(program, header, 4)?;
        let text = program.get(name..name + SECTION.len() + 1).unwrap_or_default();
        if text.strip_suffix(&[0]) == Some(SECTION.as_bytes()) {
            let (offset, size) = (
                number(program, header + 0x18, 8)?,
                number(program, header + 0x20, 8)?,
            );
            return Ok(Some(Section { header, offset, size }));
        }
    }
    Ok(None)
}

fn repair_section(section: &[u8]) -> anyhow::Result<Vec<u8>> {
    let mut repaired = Vec::with_capacity(section.len());
    let mut position = 0;
    while position + HEADER <= section.len() {
        let length = number(section, position + 8, 4)?;
        let start = position + HEADER;
        let mapping = section
            .get(start..start + length)
            .context("a coverage record is cut off")?;
        let fresh = repair_mapping(mapping)?;
        let mapping = fresh.as_deref().unwrap_or(mapping);
        repaired.extend(&section[position..position + 8]);
        repaired.extend((mapping.len() as u32).to_le_bytes());
        repaired.extend(&section[position + 12..start]);
        repaired.extend(mapping);
        repaired.resize(repaired.len().next_multiple_of(ALIGNMENT), 0);
        position = (start + length).next_multiple_of(ALIGNMENT);
    }
    Ok(repaired)
}

/// The mapping with a code region in front, when it has branches and nothing else.
fn repair_mapping(mapping: &[u8]) -> anyhow::Result<Option<Vec<u8>>> {
    let mut reader = Reader {
        bytes: mapping,
        position: 0,
    };
    let files = reader.number()?;
    for _ in 0..files {
        reader.number()?;
    }
    let expressions = reader.number()?;
    for _ in 0..2 * expressions {
        reader.number()?;
    }
    let mut first: Option<FirstBranch> = None;
    for _ in 0..files {
        let before_count = reader.position;
        let count = reader.number()?;
        let regions = reader.position;
        for _ in 0..count {
            let header = reader.number()?;
            match (header & 0b111, header >> 3) {
                (0, BRANCH) => {
                    reader.number()?;
                    reader.number()?;
                }
                (0, 0 | SKIPPED) | (1.., _) => return Ok(None),
                (0, kind) => bail!("unknown kind {kind} of coverage region"),
            }
            let before_line = reader.position;
            let place = [
                reader.number()?,
                reader.number()?,
                reader.number()?,
                reader.number()?,
            ];
            first.get_or_insert(FirstBranch {
                before_count,
                count,
                regions,
                before_line,
                place,
            });
        }
    }
    Ok(first.map(|branch| branch.with_region_in_front(mapping)))
}

/// Where the first branch of a mapping stands.
struct FirstBranch {
    before_count: usize,
    count: u64,
    regions: usize,
    before_line: usize,
    place: [u64; 4],
}

impl FirstBranch {
    /// Lines are counted from the region before, so the branch then stands on line zero from there.
    fn with_region_in_front(&self, mapping: &[u8]) -> Vec<u8> {
        let [line, column, lines, end_column] = self.place;
        let mut fresh = mapping[..self.before_count].to_vec();
        for value in [self.count + 1, ZERO, line, column, lines, end_column] {
            write_number(&mut fresh, value);
        }
        fresh.extend(&mapping[self.regions..self.before_line]);
        for value in [0, column, lines, end_column] {
            write_number(&mut fresh, value);
        }
        let mut rest = Reader {
            bytes: mapping,
            position: self.before_line,
        };
        for _ in 0..4 {
            // These four were read before.
            let _ = rest.number();
        }
        fresh.extend(&mapping[rest.position..]);
        fresh
    }
}

/// Reads numbers in LEB128.
struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl Reader<'_> {
    fn number(&mut self) -> anyhow::Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let byte = *self
                .bytes
                .get(self.position)
                .context("a coverage mapping is cut off")?;
            self.position += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        bail!("a number in a coverage mapping is too long")
    }
}

fn write_number(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

/// A little-endian number of some bytes.
fn number(bytes: &[u8], position: usize, length: usize) -> anyhow::Result<usize> {
    let part = position
        .checked_add(length)
        .and_then(|end| bytes.get(position..end));
    let part = part.context("the program file is cut off")?;
    let value = part
        .iter()
        .rev()
        .fold(0_u64, |value, byte| value << 8 | u64::from(*byte));
    ensure!(
        value <= u64::from(u32::MAX) * 16,
        "the program file names a place far outside"
    );
    Ok(value as usize)
}

#[cfg(test)]
mod tests {
    use super::{repair, repair_mapping, repair_section};

    /// One file, no expression, two branches: at line 300 and five lines below.
    const BRANCHES: &[u8] = &[
        1, 1, 0, 2, 0x20, 5, 9, 0xac, 2, 16, 0, 26, 0x20, 1, 0, 5, 26, 0, 42,
    ];
    /// The same with a code region at the first place, never run.
    const REPAIRED: &[u8] = &[
        1, 1, 0, 3, 0, 0xac, 2, 16, 0, 26, 0x20, 5, 9, 0, 16, 0, 26, 0x20, 1, 0, 5, 26, 0, 42,
    ];
    /// One code region with counter 0 (tag 1) and one branch.
    const SOUND: &[u8] = &[1, 1, 0, 2, 1, 3, 1, 4, 2, 0x20, 1, 0, 1, 5, 0, 9];

    fn record(mapping: &[u8]) -> Vec<u8> {
        let mut bytes = vec![7; 8];
        bytes.extend((mapping.len() as u32).to_le_bytes());
        bytes.extend([9; 16]);
        bytes.extend(mapping);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    #[test]
    fn a_function_of_branches_alone_gets_a_code_region() {
        assert_eq!(repair_mapping(BRANCHES).unwrap().as_deref(), Some(REPAIRED));
        assert_eq!(
            repair_mapping(REPAIRED).unwrap(),
            None,
            "a repaired mapping needs no repair"
        );
    }

    #[test]
    fn sound_and_empty_mappings_stay() {
        assert_eq!(repair_mapping(SOUND).unwrap(), None);
        assert_eq!(repair_mapping(&[0, 0]).unwrap(), None);
    }

    #[test]
    fn every_record_keeps_its_place_in_the_order() {
        let section = [record(SOUND), record(BRANCHES), record(SOUND)].concat();
        let expected = [record(SOUND), record(REPAIRED), record(SOUND)].concat();
        assert_eq!(repair_section(&section).unwrap(), expected);
    }

    #[test]
    fn cut_bytes_are_an_error() {
        for length in 1..BRANCHES.len() {
            assert!(repair_mapping(&BRANCHES[..length]).is_err(), "{length}");
        }
        assert!(repair_section(&record(BRANCHES)[..40]).is_err());
        assert!(repair(b"\x7fELF\x02\x01 and no more".to_vec()).is_err());
    }

    #[test]
    fn other_files_stay_as_they_are() {
        assert_eq!(repair(b"no program".to_vec()).unwrap(), b"no program");
    }
}
