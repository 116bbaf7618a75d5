//! What an analysis does, told as stories over a scripted provider and folders of their own.

mod asking;
mod estimates;
mod pages;
mod repository;
mod runs;
pub(crate) mod support;
mod walks;
