//! Images in a conversation.

/// An image, by URL or inline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Image {
    /// URL of the image.
    Url(String),
    /// Inline image.
    Data {
        /// Media type, as in `image/png`.
        media_type: String,
        /// The bytes in base64.
        base64: String,
    },
}

impl Image {
    /// Parses a URL; one of the `data:` scheme holds an inline image.
    #[must_use]
    pub fn from_url(url: &str) -> Self {
        let data = url
            .strip_prefix("data:")
            .and_then(|rest| rest.split_once(";base64,"));
        match data {
            Some((media_type, base64)) => Image::Data {
                media_type: media_type.to_owned(),
                base64: base64.to_owned(),
            },
            None => Image::Url(url.to_owned()),
        }
    }

    /// Returns the size of the URL or the inline image, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Image::Url(url) => url.len(),
            Image::Data { media_type, base64 } => media_type.len() + base64.len(),
        }
    }

    /// Returns the image's URL; an inline image gets one of the `data:` scheme.
    #[must_use]
    pub fn to_url(&self) -> String {
        match self {
            Image::Url(url) => url.clone(),
            Image::Data { media_type, base64 } => format!("data:{media_type};base64,{base64}"),
        }
    }
}

/// The detail in which a model sees an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImageDetail {
    /// As the model likes.
    Auto,
    /// A small version.
    Low,
    /// Many tiles.
    High,
    /// All that there is.
    Original,
}

impl ImageDetail {
    /// Parses OpenAI's word.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "auto" => Self::Auto,
            "low" => Self::Low,
            "high" => Self::High,
            "original" => Self::Original,
            _ => return None,
        })
    }

    /// Returns OpenAI's word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Low => "low",
            Self::High => "high",
            Self::Original => "original",
        }
    }
}
