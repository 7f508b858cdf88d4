//! The registry of the kinds of sources. A new kind adds its folder and the two lines that name it here.

/// Calls the macro `$apply` with the variant, the module and the types of every kind.
macro_rules! for_each_kind {
    ($apply:ident) => {
        $apply! {
            /// Pictures that appear in a folder.
            Folder folder (Folder, FolderSource),
            /// A camera's stream or a recording.
            Stream stream (Stream, StreamSource),
            /// A picture that is requested again and again.
            Http http (Http, HttpSource),
            /// Pictures that are published to MQTT topics.
            Mqtt mqtt (MqttSettings, MqttSource),
        }
    };
}

use std::sync::Arc;

pub mod camera;
pub mod folder;
pub mod http;
pub(crate) mod login;
pub mod mqtt;
pub mod stream;

pub mod settings;
pub mod source_kind;

use self::source_kind::SourceKind;
use super::{
    cause::Causes,
    context::Context,
    kind::{Failure, Kind, Probe, Surroundings},
};
use crate::{config, picture::Picture};

macro_rules! running {
    ($($(#[$doc:meta])* $kind:ident $module:ident ($settings:ident, $source:ident),)+) => {
        /// A source of any kind.
        pub(super) enum Running {
            $($kind(Box<$module::$source>),)+
        }

        impl Running {
            pub(super) fn new(source: &config::Source) -> Self {
                match &source.kind {
                    $(SourceKind::$kind(settings) => {
                        Self::$kind(Box::new(Kind::new(settings, &source.regions)))
                    })+
                }
            }

            /// See [`Kind::run_once`].
            pub(super) async fn run_once(&mut self, context: &Context) -> Result<(), Failure> {
                match self {
                    $(Self::$kind(source) => Kind::run_once(source.as_mut(), context).await,)+
                }
            }

            /// See [`Kind::end`].
            pub(super) fn end(&mut self, context: &Context) {
                match self {
                    $(Self::$kind(source) => Kind::end(source.as_mut(), context),)+
                }
            }
        }

        /// The causes that a source of this kind can report.
        #[must_use]
        pub fn causes(kind: &SourceKind) -> Causes {
            match kind {
                $(SourceKind::$kind(_) => $module::$source::CAUSES,)+
            }
        }

        /// Checks whether a source would deliver frames. May block for some seconds.
        #[must_use]
        pub fn probe(kind: &SourceKind, surroundings: &Surroundings<'_>) -> Probe {
            match kind {
                $(SourceKind::$kind(settings) => $module::$source::probe(settings, surroundings),)+
            }
        }

        /// One picture of a source, or why there is none; `None`: this kind of source cannot be requested for one. May block for some
        /// seconds.
        #[must_use]
        pub fn picture(
            kind: &SourceKind,
            surroundings: &Surroundings<'_>,
        ) -> Option<Result<Arc<Picture>, String>> {
            match kind {
                $(SourceKind::$kind(settings) => $module::$source::picture(settings, surroundings),)+
            }
        }

        #[cfg(test)]
        pub(super) const ALL_CAUSES: &[Causes] = &[$($module::$source::CAUSES,)+];
    };
}
for_each_kind!(running);
