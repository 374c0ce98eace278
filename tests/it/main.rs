//! Tests of the real binary against real parts.
