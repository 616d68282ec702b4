//! Files in a conversation: documents and recordings.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Image, Part};
use crate::json::Json;

/// A file that is no image, and no text that could be read here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Path of the file in the client's request, for errors.
    pub param: String,
    /// The file's name.
    pub name: Option<String>,
    /// Media type, as in `application/pdf`.
    pub media_type: String,
    /// The content.
    pub source: FileSource,
}

/// The content of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileSource {
    /// Its address.
    Url(String),
    /// The bytes in base64.
    Base64(String),
    /// Its id in OpenAI's store of files, which both of OpenAI's dialects read. Its type is
    /// unknown.
    Stored(String),
}

const PDF: &str = "application/pdf";

/// The media types of files by the ends of their names.
const MEDIA_TYPES: &[(&str, &str)] = &[
    ("pdf", PDF),
    ("txt", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("html", "text/html"),
    ("json", "application/json"),
    ("xml", "application/xml"),
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("webp", "image/webp"),
    ("gif", "image/gif"),
    ("mp3", "audio/mpeg"),
    ("wav", "audio/wav"),
];

impl File {
    /// Returns the part for an inline file: an image, a text, or the file itself. `data` is base64,
    /// or a URL of the `data:` scheme.
    pub(crate) fn inline(
        param: String,
        name: Option<String>,
        media_type: Option<String>,
        data: &str,
    ) -> Part {
        let url = data
            .strip_prefix("data:")
            .and_then(|rest| rest.split_once(";base64,"));
        let (named_type, base64) = match url {
            Some((named_type, base64)) => (Some(named_type), base64),
            None => (None, data),
        };
        let by_name = || name.as_deref().and_then(type_by_name);
        // The signature of a PDF, in base64.
        let by_content = || base64.starts_with("JVBERi").then_some(PDF);
        let media_type = media_type
            .as_deref()
            .or(named_type)
            .filter(|media_type| {
                !media_type.is_empty() && *media_type != "application/octet-stream"
            })
            .or_else(by_name)
            .or_else(by_content)
            .unwrap_or("application/octet-stream");
        let media_type = media_type.split(';').next().unwrap_or(media_type).trim();
        if media_type.starts_with("image/") {
            let image = Image::Data {
                media_type: media_type.to_owned(),
                base64: base64.to_owned(),
            };
            return Part::Image(image, None);
        }
        if let Some(text) = is_text(media_type).then(|| decoded_text(base64)).flatten() {
            return Part::Text(with_title(name.as_deref(), &text));
        }
        Part::File(Self {
            param,
            media_type: media_type.to_owned(),
            source: FileSource::Base64(base64.to_owned()),
            name,
        })
    }

    /// Returns the part for a file of that address; without a type it is a PDF.
    pub(crate) fn linked(
        param: String,
        name: Option<String>,
        media_type: Option<String>,
        url: &str,
    ) -> Part {
        if url.starts_with("data:") {
            return Self::inline(param, name, media_type, url);
        }
        let path = url.split(['?', '#']).next().unwrap_or(url);
        let media_type = media_type.filter(|media_type| !media_type.is_empty());
        let media_type = media_type.unwrap_or_else(|| type_by_name(path).unwrap_or(PDF).to_owned());
        if media_type.starts_with("image/") {
            return Part::Image(Image::Url(url.to_owned()), None);
        }
        Part::File(Self {
            param,
            name,
            media_type,
            source: FileSource::Url(url.to_owned()),
        })
    }

    /// Parses a recording, as both of OpenAI's dialects have it.
    pub(crate) fn recording(param: String, audio: Json<'_>) -> Option<Part> {
        let format = audio.get("format").text()?;
        let media_type = match &*format {
            "mp3" => "audio/mpeg".to_owned(),
            format => format!("audio/{format}"),
        };
        let data = audio.get("data").text()?;
        Some(Self::inline(param, None, Some(media_type), &data))
    }

    /// Returns the part for a file of OpenAI's store.
    pub(crate) fn stored(param: String, name: Option<String>, id: &str) -> Part {
        Part::File(Self {
            param,
            name,
            media_type: String::new(),
            source: FileSource::Stored(id.to_owned()),
        })
    }

    /// Returns true for a file of OpenAI's store, which no other provider can read.
    #[must_use]
    pub fn is_stored(&self) -> bool {
        matches!(self.source, FileSource::Stored(_))
    }

    /// Returns true for a PDF.
    #[must_use]
    pub fn is_pdf(&self) -> bool {
        self.media_type == PDF
    }

    /// Returns true if the content is in the request.
    #[must_use]
    pub fn is_inline(&self) -> bool {
        matches!(self.source, FileSource::Base64(_))
    }

    /// Returns a name for upstreams that want one.
    #[must_use]
    pub fn name_or_default(&self) -> &str {
        match self.name.as_deref() {
            Some(name) if !name.is_empty() => name,
            _ if self.is_pdf() => "document.pdf",
            _ => "document",
        }
    }

    /// Returns a URL of the `data:` scheme, or the file's address or id.
    #[must_use]
    pub fn to_url(&self) -> String {
        match &self.source {
            FileSource::Url(url) | FileSource::Stored(url) => url.clone(),
            FileSource::Base64(base64) => format!("data:{};base64,{base64}", self.media_type),
        }
    }

    /// Returns the size of the address, the id or the content, in bytes.
    #[must_use]
    pub fn size(&self) -> usize {
        let (FileSource::Url(source) | FileSource::Base64(source) | FileSource::Stored(source)) =
            &self.source;
        source.len()
    }
}

/// Returns a document's text under its title.
pub(crate) fn with_title(title: Option<&str>, text: &str) -> String {
    match title.filter(|title| !title.is_empty()) {
        Some(title) => format!("{title}\n\n{text}"),
        None => text.to_owned(),
    }
}

fn type_by_name(name: &str) -> Option<&'static str> {
    let (_, end) = name.rsplit_once('.')?;
    let found = MEDIA_TYPES
        .iter()
        .find(|(known, _)| end.eq_ignore_ascii_case(known));
    found.map(|(_, media_type)| *media_type)
}

fn is_text(media_type: &str) -> bool {
    media_type.starts_with("text/")
        || matches!(
            media_type,
            "application/json"
                | "application/xml"
                | "application/yaml"
                | "application/x-yaml"
                | "application/toml"
                | "application/javascript"
                | "application/x-sh"
        )
        || media_type.ends_with("+json")
        || media_type.ends_with("+xml")
}

fn decoded_text(base64: &str) -> Option<String> {
    let bytes = BASE64_STANDARD.decode(base64.trim_ascii()).ok()?;
    String::from_utf8(bytes).ok()
}
