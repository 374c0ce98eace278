//! Bytes as a source of decisions: the same bytes always make the same case, so a fuzzer can work on them.

use std::io::{Read, Result};

/// What is left of the bytes; zeros follow.
pub struct Source<'a>(pub &'a [u8]);

impl Source<'_> {
    pub fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else {
            return 0;
        };
        self.0 = rest;
        *first
    }

    /// A number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        let number = match limit {
            0..=256 => self.byte().into(),
            _ => {
                usize::from(self.byte()) << 16
                    | usize::from(self.byte()) << 8
                    | usize::from(self.byte())
            }
        };
        number % limit.max(1)
    }

    /// Once in so many times.
    pub fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == times - 1
    }

    pub fn pick<'t, T: ?Sized>(&mut self, from: &[&'t T]) -> &'t T {
        from[self.below(from.len())]
    }

    /// Up to `most` pieces in a row.
    pub fn text(&mut self, pieces: &[&str], most: usize) -> String {
        (0..self.below(most + 1))
            .map(|_| self.pick(pieces))
            .collect()
    }

    /// At least one piece.
    pub fn word(&mut self, pieces: &[&str], most: usize) -> String {
        self.pick(pieces).to_owned() + &self.text(pieces, most - 1)
    }

    /// Up to `most` bytes.
    pub fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| self.byte()).collect()
    }

    /// As many of something as the source says, up to `most`.
    pub fn many<T>(&mut self, most: usize, mut one: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(most + 1)).map(|_| one(self)).collect()
    }

    /// The same bytes with a few of them changed, or gone, or there twice, or other ones between them.
    pub fn mutated(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        for _ in 0..=self.below(4) {
            let at = self.below(bytes.len() + 1);
            let end = (at + 1 + self.below(16)).min(bytes.len());
            let piece: Vec<u8> = bytes[at..end].to_vec();
            match self.below(6) {
                0 => bytes.truncate(at),
                1 => drop(bytes.drain(at..end)),
                2 => drop(bytes.splice(at..at, piece)),
                3 => drop(bytes.splice(at..at, self.bytes(16))),
                4 if at < end => bytes[at] = self.byte(),
                4 => bytes.push(self.byte()),
                _ => {
                    let other = self.below(bytes.len() + 1);
                    drop(bytes.splice(other..other, piece));
                }
            }
        }
        bytes
    }
}

/// A reader that gives at most so many bytes at once, in turns.
pub struct Dribble<'a> {
    bytes: &'a [u8],
    sizes: Vec<usize>,
    turn: usize,
}

impl<'a> Dribble<'a> {
    pub fn new(bytes: &'a [u8], source: &mut Source) -> Dribble<'a> {
        let mut sizes = source.many(4, |it| 1 + it.below(20));
        sizes.push(2000 - source.below(2000));
        let turn = 0;
        Dribble { bytes, sizes, turn }
    }
}

impl Read for Dribble<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let size = self.sizes[self.turn % self.sizes.len()];
        self.turn += 1;
        let size = size.min(buffer.len());
        self.bytes.read(&mut buffer[..size])
    }
}
