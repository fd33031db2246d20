//! How Shaddock's servers find and reach each other: engines, calls, members, picking.
