//! A reader whose events have the client's names of tools, where others were sent.

use crate::codec::{EventReader, EventSink, PassThroughPosition, PayloadInfo};
use crate::failure::Failure;
use crate::tool_names::ToolNames;

impl ToolNames {
    /// Returns a reader whose events have the client's names of tools.
    #[must_use]
    pub fn restore_in(&self, reader: Box<dyn EventReader>) -> Box<dyn EventReader> {
        if self.is_empty() {
            return reader;
        }
        Box::new(RestoringReader {
            reader,
            names: self.clone(),
        })
    }
}

/// A reader whose events have the client's names of tools.
#[derive(Debug)]
struct RestoringReader {
    reader: Box<dyn EventReader>,
    names: ToolNames,
}

impl EventReader for RestoringReader {
    fn read_payload(&mut self, data: &[u8], sink: EventSink<'_>) -> Result<PayloadInfo, Failure> {
        let Self { reader, names } = self;
        match sink {
            None => reader.read_payload(data, None),
            Some(sink) => reader.read_payload(data, Some(&mut |event| sink(names.restore(event)))),
        }
    }

    fn read_error(&self, data: &[u8]) -> Option<Failure> {
        self.reader.read_error(data)
    }

    fn finish_stream(&mut self, sink: EventSink<'_>) -> Result<(), Failure> {
        let Self { reader, names } = self;
        match sink {
            None => reader.finish_stream(None),
            Some(sink) => reader.finish_stream(Some(&mut |event| sink(names.restore(event)))),
        }
    }

    fn position(&self) -> PassThroughPosition<'_> {
        self.reader.position()
    }
}
