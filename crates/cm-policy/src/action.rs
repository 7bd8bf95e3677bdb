//! Actions as types, so that a permit for reading cannot be handed to a method that deletes.

use cm_types::Action;

mod sealed {
    pub trait Sealed {}
}

/// An action at the level of types. Implemented by the markers of this module and by nothing else.
pub trait ActionKind: sealed::Sealed + Send + Sync + 'static {
    /// The action as a value.
    const ACTION: Action;
}

macro_rules! markers {
    ($($name:ident),+) => {
        $(
            #[doc = concat!("Marks a permit for [`Action::", stringify!($name), "`].")]
            #[derive(Clone, Copy, Debug, PartialEq, Eq)]
            pub enum $name {}

            impl sealed::Sealed for $name {}

            impl ActionKind for $name {
                const ACTION: Action = Action::$name;
            }
        )+
    };
}

markers!(Create, Read, List, Update, Delete, Invoke, Grant);
