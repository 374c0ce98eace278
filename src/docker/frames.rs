//! The stream that an exec without a terminal answers with (Engine API, "Attach to a container", stream format).

use std::io::{Error, ErrorKind, Read, Result, Take};

/// Which of its two streams a command wrote to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Its standard output.
    Stdout,
    /// Its standard error.
    Stderr,
}

/// Takes the frames apart: an 8-byte header (stream number, three zero bytes, big-endian length), then the bytes.
pub struct Frames<R> {
    /// What isn't read yet of the current frame.
    frame: Take<R>,
    /// Its stream.
    stream: Stream,
}

impl<R: Read> Frames<R> {
    /// Reads frames from `reader` until it ends.
    pub fn new(reader: R) -> Self {
        let (frame, stream) = (reader.take(0), Stream::Stdout);
        Frames { frame, stream }
    }

    /// The stream that the next bytes belong to; `None` at the end.
    ///
    /// # Errors
    /// Those of the reader; [`ErrorKind::UnexpectedEof`] when it ends inside a header, and
    /// [`ErrorKind::InvalidData`] when something else than a header stands where one has to be.
    pub fn next_stream(&mut self) -> Result<Option<Stream>> {
        while self.frame.limit() == 0 {
            let mut header = Vec::with_capacity(8);
            self.frame.set_limit(8);
            self.frame.read_to_end(&mut header)?;
            let (stream, length) = match *header {
                [] => {
                    self.frame.set_limit(0);
                    return Ok(None);
                }
                [1, 0, 0, 0, a, b, c, d] => (Stream::Stdout, [a, b, c, d]),
                [2, 0, 0, 0, a, b, c, d] => (Stream::Stderr, [a, b, c, d]),
                _ if header.len() < 8 => return Err(ErrorKind::UnexpectedEof.into()),
                _ => {
                    let message = format!("not the header of an output frame: {header:?}");
                    return Err(Error::new(ErrorKind::InvalidData, message));
                }
            };
            self.stream = stream;
            self.frame.set_limit(u32::from_be_bytes(length).into());
        }
        Ok(Some(self.stream))
    }
}

impl<R: Read> Read for Frames<R> {
    /// The bytes of both streams, as they come: those of one call are all of [`Frames::next_stream`]. A reader that
    /// ends inside a frame is an error ([`ErrorKind::UnexpectedEof`]).
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        if buffer.is_empty() || self.next_stream()?.is_none() {
            return Ok(0);
        }
        match self.frame.read(buffer)? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            read => Ok(read),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(stream: u8, bytes: &[u8]) -> Vec<u8> {
        let mut frame = vec![stream, 0, 0, 0];
        frame.extend((bytes.len() as u32).to_be_bytes());
        frame.extend(bytes);
        frame
    }

    /// Gives out one byte at a time, as a slow connection may.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
            let Some((first, rest)) = self.0.split_first() else {
                return Ok(0);
            };
            buffer[0] = *first;
            self.0 = rest;
            Ok(1)
        }
    }

    fn all(bytes: &[u8]) -> Result<(Vec<u8>, Vec<u8>)> {
        let mut frames = Frames::new(Drip(bytes));
        let (mut out, mut err) = (vec![], vec![]);
        let mut buffer = [0; 3];
        while let Some(stream) = frames.next_stream()? {
            let n = frames.read(&mut buffer)?;
            match stream {
                Stream::Stdout => out.extend(&buffer[..n]),
                Stream::Stderr => err.extend(&buffer[..n]),
            }
        }
        Ok((out, err))
    }

    #[test]
    fn takes_both_streams_apart_however_they_arrive() {
        let stream = [
            frame(1, b"hello "),
            frame(2, b"oops"),
            frame(1, b""),
            frame(1, b"world"),
        ]
        .concat();
        assert_eq!(
            all(&stream).unwrap(),
            (b"hello world".to_vec(), b"oops".to_vec())
        );
        assert_eq!(all(b"").unwrap(), (vec![], vec![]));
    }

    #[test]
    fn the_end_stays_the_end() {
        let stream = frame(1, b"x");
        let mut frames = Frames::new(stream.as_slice());
        assert_eq!(frames.read(&mut [0; 9]).unwrap(), 1);
        for _ in 0..3 {
            assert_eq!(frames.read(&mut [0; 9]).unwrap(), 0);
            assert_eq!(frames.next_stream().unwrap(), None);
        }
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error_at_every_byte() {
        let stream = frame(1, b"hello");
        for end in 1..stream.len() {
            let error = all(&stream[..end]).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "cut at {end}");
        }
    }

    #[test]
    fn refuses_what_is_no_frame() {
        for garbage in [
            &b"HTTP/1.1"[..],
            &[3, 0, 0, 0, 0, 0, 0, 1],
            &[1, 1, 0, 0, 0, 0, 0, 1],
        ] {
            assert_eq!(all(garbage).unwrap_err().kind(), ErrorKind::InvalidData);
        }
    }
}
