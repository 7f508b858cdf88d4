//! The settings of a source of any kind, and how they are read from YAML. Generated from the registry.

use super::settings::{KindKey, Settings};
use crate::yaml::reader::{Reader, Section, Setting};

macro_rules! settings {
    ($($(#[$doc:meta])* $kind:ident $module:ident ($settings:ident, $source:ident),)+) => {
        /// The settings of a source, by its kind.
        #[derive(Debug, Clone, PartialEq, Eq)]
        #[allow(clippy::large_enum_variant, reason = "there are few sources, and they are created once")]
        pub enum SourceKind {
            $($(#[$doc])* $kind(super::$module::settings::$settings),)+
        }

        impl SourceKind {
            /// What every kind of settings provides.
            #[must_use]
            pub fn settings(&self) -> &dyn Settings {
                match self {
                    $(Self::$kind(settings) => settings,)+
                }
            }

            /// The keys that name a kind, in the order in which they are documented.
            pub(crate) fn keys() -> impl Iterator<Item = &'static KindKey> {
                [$(super::$module::settings::KEYS,)+].into_iter().flatten()
            }

            /// Reads the settings of the kind that `key` names; `None` if they are invalid.
            pub(crate) fn read(
                reader: &mut Reader<'_>,
                key: &Setting<'_>,
                section: &Section<'_>,
            ) -> Option<Self> {
                let is = |keys: &[KindKey]| keys.iter().any(|kind| kind.key == key.name);
                $(if is(super::$module::settings::KEYS) {
                    return super::$module::settings::read(reader, key, section).map(Self::$kind);
                })+
                None
            }
        }
    };
}
for_each_kind!(settings);
