//! Checkpoints as C2SP `tlog-checkpoint` defines them: the signed statement of a tree's size and root.

use std::fmt;

use arbiter_core::model::Digest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The text of a checkpoint: origin, size, root hash, extension lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    origin: String,
    size: u64,
    root: Digest,
    extensions: Vec<String>,
}

/// A text that is not a checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// The first line, the origin, is empty or has control characters.
    #[error("checkpoint has no valid origin")]
    Origin,
    /// The second line is not a decimal number without leading zeros.
    #[error("checkpoint has no valid tree size")]
    Size,
    /// The third line is not a root hash in base64.
    #[error("checkpoint has no valid root hash")]
    Root,
    /// A further line is empty or has control characters, or the last one does not end.
    #[error("checkpoint has an invalid extension line")]
    Extension,
}

impl Checkpoint {
    /// States size and root of the log named `origin`, a URL without scheme such as `example.com/log`.
    ///
    /// # Errors
    /// Returns [`CheckpointError::Origin`] if the origin is empty or has control characters.
    pub fn new(origin: impl Into<String>, size: u64, root: Digest) -> Result<Self, CheckpointError> {
        let origin = origin.into();
        let checkpoint = Self {
            origin,
            size,
            root,
            extensions: Vec::new(),
        };
        if is_line(&checkpoint.origin) {
            Ok(checkpoint)
        } else {
            Err(CheckpointError::Origin)
        }
    }

    /// Adds an extension line.
    ///
    /// # Errors
    /// Returns [`CheckpointError::Extension`] if the line is empty or has control characters.
    pub fn with_extension(mut self, line: impl Into<String>) -> Result<Self, CheckpointError> {
        let line = line.into();
        if !is_line(&line) {
            return Err(CheckpointError::Extension);
        }
        self.extensions.push(line);
        Ok(self)
    }

    /// Reads the text of a checkpoint.
    ///
    /// # Errors
    /// Returns the [`CheckpointError`] of the first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, CheckpointError> {
        let body = text.strip_suffix('\n').ok_or(CheckpointError::Extension)?;
        let mut lines = body.split('\n');
        let origin = lines.next().unwrap_or_default();
        let size_line = lines.next().ok_or(CheckpointError::Size)?;
        let size = size_line
            .parse::<u64>()
            .ok()
            .filter(|size| size.to_string() == size_line);
        let root = STANDARD.decode(lines.next().ok_or(CheckpointError::Root)?).ok();
        let root: Option<[u8; 32]> = root.and_then(|bytes| bytes.try_into().ok());
        let size = size.ok_or(CheckpointError::Size)?;
        let root = Digest::from_bytes(root.ok_or(CheckpointError::Root)?);
        lines.try_fold(Self::new(origin, size, root)?, Self::with_extension)
    }

    /// The name of the log.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// The number of leaves.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The root hash.
    pub const fn root(&self) -> &Digest {
        &self.root
    }

    /// The extension lines, without newlines.
    pub fn extensions(&self) -> &[String] {
        &self.extensions
    }
}

fn is_line(line: &str) -> bool {
    !line.is_empty() && !line.chars().any(char::is_control)
}

/// The text that is signed; every line ends in a newline.
impl fmt::Display for Checkpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{}\n{}\n{}",
            self.origin,
            self.size,
            STANDARD.encode(self.root.as_bytes())
        )?;
        self.extensions.iter().try_for_each(|line| writeln!(f, "{line}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The form of the C2SP example: origin, size, root, one extension line.
    const TEXT: &str =
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\nextra 1\n";

    #[test]
    fn the_text_form_round_trips() {
        let checkpoint = Checkpoint::parse(TEXT).unwrap();
        assert_eq!(
            (checkpoint.origin(), checkpoint.size()),
            ("example.com/behind-the-sofa", 20_852_163)
        );
        assert_eq!(checkpoint.extensions(), ["extra 1"]);
        assert_eq!(checkpoint.to_string(), TEXT);
    }

    #[test]
    fn what_is_not_a_checkpoint_is_refused() {
        for (from, to, error) in [
            ("example.com/behind-the-sofa", "", CheckpointError::Origin),
            ("20852163", "020852163", CheckpointError::Size),
            ("20852163", "+20852163", CheckpointError::Size),
            ("20852163", "20852163 ", CheckpointError::Size),
            ("20852163", "18446744073709551616", CheckpointError::Size),
            ("q2I=", "q2J=", CheckpointError::Root),
            ("q2I=", "q2I", CheckpointError::Root),
            ("CsUY", "", CheckpointError::Root),
            ("extra 1", "", CheckpointError::Extension),
            ("extra 1\n", "extra 1", CheckpointError::Extension),
            ("extra 1", "extra\r", CheckpointError::Extension),
        ] {
            assert_eq!(
                Checkpoint::parse(&TEXT.replacen(from, to, 1)),
                Err(error),
                "{from} -> {to}"
            );
        }
        assert_eq!(Checkpoint::parse("origin\n"), Err(CheckpointError::Size));
        assert_eq!(Checkpoint::parse("origin\n1\n"), Err(CheckpointError::Root));
        assert_eq!(
            Checkpoint::new("a\nb", 0, Digest::of(b"")),
            Err(CheckpointError::Origin)
        );
    }
}
