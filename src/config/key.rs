//! The description of a key: its path, type, default and purpose. The reader, the overlay from the
//! environment and the tables of `docs/configuration.md` all follow from it.

/// A key of the configuration.
#[derive(Debug)]
pub(super) struct Key {
    /// The path, such as `timeouts.connect`; in a list or in a named section, the path within.
    pub(super) path: &'static str,
    pub(super) kind: Kind,
    pub(super) default: Default,
    /// Its purpose, in Markdown.
    #[cfg_attr(not(test), expect(dead_code, reason = "for the page of all keys"))]
    pub(super) doc: &'static str,
}

impl Key {
    pub(super) const fn new(
        path: &'static str,
        kind: Kind,
        default: Default,
        doc: &'static str,
    ) -> Self {
        Self {
            path,
            kind,
            default,
            doc,
        }
    }
}

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Text,
    /// An address and a port.
    Address,
    /// A duration of more than nothing.
    Duration,
    /// A duration; nothing is one too.
    DurationOrZero,
    Size,
    /// A whole number between two bounds.
    Number(usize, usize),
    Flag,
    /// One of some words. A provider's dialects are handed in.
    Word(&'static [&'static str]),
    /// A list of values.
    List,
    /// A list of tables.
    Tables,
    /// A table of values.
    Table,
    /// A table of texts.
    Texts,
    /// A time of the calendar, with its offset.
    Time,
    /// A text, or a table of texts.
    TextOrTexts,
}

/// The value of a key that is not given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Default {
    /// This value, as it stands in a file but without quotes.
    Value(&'static str),
    /// None, or one that depends on something else: this is said about it.
    Said(&'static str),
    /// None: it must be given.
    Required,
}

/// The spelling of a value in the environment, where everything is text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spelling {
    Text,
    /// A whole number, or true or false.
    Literal,
    /// TOML: a list or a table.
    Toml,
}

impl Kind {
    pub(super) fn spelling(self) -> Spelling {
        match self {
            Self::Number(..) | Self::Flag => Spelling::Literal,
            Self::List | Self::Tables | Self::Table | Self::Texts | Self::Time => Spelling::Toml,
            _ => Spelling::Text,
        }
    }
}

/// All keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Keys {
    /// The keys by section, the top first.
    pub(super) sections: &'static [&'static [Key]],
    pub(super) provider: &'static [Key],
    pub(super) model: &'static [Key],
    pub(super) target: &'static [Key],
    pub(super) family: &'static [Key],
    pub(super) team: &'static [Key],
    /// In the file of keys.
    pub(super) client_key: &'static [Key],
    pub(super) limits: &'static [Key],
    pub(super) budget: &'static [Key],
}

impl Keys {
    /// Returns every key but those of providers and in lists.
    pub(super) fn general(&self) -> impl Iterator<Item = &'static Key> {
        self.sections.iter().copied().flatten()
    }

    /// Returns whether that is a key of any section or list.
    pub(super) fn contains(&self, key: &Key) -> bool {
        let within = [
            self.provider,
            self.model,
            self.target,
            self.family,
            self.team,
            self.client_key,
            self.limits,
            self.budget,
        ];
        let mut all = self.general().chain(within.into_iter().flatten());
        all.any(|known| known.path == key.path)
    }
}
