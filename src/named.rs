//! Enums whose values have a fixed word (in JSON, on the command line) and a fixed number (in the store): both are part of
//! contracts, so they are written once, and a test holds schema.sql's `words` equal to them.

/// Defines such an enum; the order of the variants gives the numbers, so new ones go last.
macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        pub enum $name { $($(#[$variant_doc])* $variant),+ }

        impl $name {
            /// Every value, with its name; the place is its number in the store.
            pub const ALL: &'static [(Self, &'static str)] = &[$((Self::$variant, $text)),+];

            /// The name.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text),+ }
            }

            /// The number in the store.
            pub fn code(self) -> u8 {
                self as u8
            }

            /// From the number in the store.
            pub fn from_code(code: u8) -> Option<Self> {
                Self::ALL.get(usize::from(code)).map(|(value, _)| *value)
            }

            /// From the name.
            pub fn from_name(name: &str) -> Option<Self> {
                Self::ALL.iter().find(|(_, known)| *known == name).map(|(value, _)| *value)
            }
        }
    };
}

pub(crate) use named;
