//! Tables of good and faulty settings.
