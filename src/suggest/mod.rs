//! Suggests trigger settings for one label from its recorded scores. Pure.
//!
//! `tune` suggests for every label of a source, from recordings or from stored scores, and shows the reasons as tables and pictures.
//! The API suggests for one label. Both have the same suggestion.

mod advice;
mod grade;
mod marks;
mod point;
mod suggestion;

pub use self::{
    advice::{Advice, Measure, NoAdvice},
    grade::{Frames, Grade, Recording, frames, grade, shown},
    marks::{AROUND, MarkedMoment, events_of_marks, joined},
    point::{Interval, Point},
    suggestion::{Suggestion, TruthBy, alerts, settings},
};
