// What a program's own flags say of it, for the shell and for man.
#pragma once
#include <CLI/CLI.hpp>

namespace megacc {

/// Adds --completion and --man to a program whose flags are complete: they print what the functions below return.
void addDocumentFlags(CLI::App &app);

/// A script for bash: flags, the values of those that take one of a few, commands, and file names for everything else.
std::string makeBashCompletion(const CLI::App &app);

/// The page of section 1, for man. `footer` of the app becomes its notes.
std::string makeManPage(const CLI::App &app);

} // namespace megacc
