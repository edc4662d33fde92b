//! What every kind of store must do, as functions over `&dyn Store`. They panic where one does not: they are tests,
//! kept here so that each kind of store runs the very same ones.
