//! A part of a list, so that several machines can share one without knowing of each other. Not here: what a run has to itself for it
//! (`lock`), and how it waits for what the other parts publish (`others`).

use std::fmt;
use std::str::FromStr;

use crate::owners::Key;

/// The most parts.
const MOST: u64 = 1000;

/// One of so many parts, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u64,
    count: u64,
}

impl Shard {
    /// Whether an entry falls to it. It falls to one of them, to the same one on every machine and in every version: FNV-1a of
    /// its URL, branch and path, each ended by a NUL, with its upper half xored into its lower.
    pub fn has(&self, key: &Key) -> bool {
        let Key { url, branch, path } = key;
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in [url, branch, path]
            .iter()
            .flat_map(|it| it.bytes().chain([0]))
        {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
        let mixed = hash ^ hash.wrapping_shr(32);
        mixed.checked_rem(self.count) == self.index.checked_sub(1)
    }

    /// Whether it is the one that tells what concerns all of them.
    pub fn is_first(&self) -> bool {
        self.index == 1
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// What stands for it in a container's name.
    pub fn name(&self) -> String {
        format!("{}-of-{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = ();

    fn from_str(text: &str) -> Result<Shard, ()> {
        let (index, count) = text.split_once('/').ok_or(())?;
        let number = |text: &str| {
            let is_number = text.bytes().all(|it| it.is_ascii_digit());
            text.parse::<u64>().ok().filter(|_| is_number)
        };
        match (number(index), number(count)) {
            (Some(index), Some(count @ 1..=MOST)) if (1..=count).contains(&index) => {
                Ok(Shard { index, count })
            }
            _ => Err(()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u32) -> Key {
        Key {
            url: format!("https://aur.archlinux.org/package-{number}.git"),
            branch: String::new(),
            path: String::new(),
        }
    }

    #[test]
    fn only_a_part_of_a_whole_is_one() {
        let shard: Shard = "2/4".parse().unwrap();
        assert_eq!(
            (shard.to_string(), shard.name()),
            ("2/4".into(), "2-of-4".into())
        );
        for text in [
            "",
            "1",
            "/",
            "/4",
            "1/",
            "0/4",
            "5/4",
            "1/0",
            "-1/4",
            "+1/4",
            "1/4/2",
            "1 /4",
            "{{.Task.Slot}}/4",
            "1/1001",
            "1/$N",
        ] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }

    #[test]
    fn each_entry_falls_to_one_part_and_the_parts_are_alike() {
        let parts: Vec<Shard> = (1..=8)
            .map(|it| format!("{it}/8").parse().unwrap())
            .collect();
        let count = |part: &Shard| (0..10_000).filter(|it| part.has(&key(*it))).count();
        let counts: Vec<usize> = parts.iter().map(count).collect();
        assert_eq!(counts.iter().sum::<usize>(), 10_000);
        let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
        assert!(most * 10 < least * 11, "{counts:?}");
    }

    #[test]
    fn an_entrys_part_is_the_same_in_every_version() {
        let part = |key: &Key| {
            (1..=4).find(|it| {
                Shard {
                    index: *it,
                    count: 4,
                }
                .has(key)
            })
        };
        let parts: Vec<_> = (0..6).map(|it| part(&key(it)).unwrap()).collect();
        assert_eq!(parts, [2, 3, 3, 4, 2, 2]);
    }
}
