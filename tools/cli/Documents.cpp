#include "tools/cli/Documents.h"

#include <algorithm>
#include <functional>
#include <string_view>

namespace megacc {
namespace {

std::vector<const CLI::App *> getCommands(const CLI::App &app) {
  return app.get_subcommands([](const CLI::App *) { return true; });
}

std::vector<const CLI::Option *> getFlags(const CLI::App &app) {
  return app.get_options([](const CLI::Option *option) { return option->nonpositional(); });
}

/// "-o", "--emit": as they are typed.
std::vector<std::string> getNames(const CLI::Option &option) {
  std::vector<std::string> names;
  for (const std::string &name : option.get_snames())
    names.push_back("-" + name);
  for (const std::string &name : option.get_lnames())
    names.push_back("--" + name);
  return names;
}

std::string join(const std::vector<std::string> &words, std::string_view separator) {
  std::string text;
  for (const std::string &word : words)
    text += (text.empty() ? "" : std::string(separator)) + word;
  return text;
}

/// What the option takes, as --help shows it; "" for a flag without a value.
std::string getValue(const CLI::Option &option) { return option.get_items_expected_max() == 0 ? "" : option.get_type_name(); }

/// "cpu sm_90a" of an option that takes one of these; "" where it takes anything.
std::string getChoices(const CLI::Option &option) {
  const std::string value = getValue(option);
  const size_t begin = value.find('{'), end = value.find('}');
  if (begin == std::string::npos || end == std::string::npos)
    return "";
  std::string choices = value.substr(begin + 1, end - begin - 1);
  std::ranges::replace(choices, ',', ' ');
  return choices;
}

/// The branches that complete what may follow `app` on the line; `indent` stands before each of its lines.
std::string completeWords(const CLI::App &app, const std::string &indent) {
  std::string cases;
  std::vector<std::string> words;
  for (const CLI::Option *option : getFlags(app)) {
    const std::vector<std::string> names = getNames(*option);
    words.insert(words.end(), names.begin(), names.end());
    if (getValue(*option).empty())
      continue;
    const std::string choices = getChoices(*option);
    cases += indent + "  " + join(names, "|") + ") COMPREPLY=($(compgen " + (choices.empty() ? "-f" : "-W '" + choices + "'") +
             " -- \"$word\")); return ;;\n";
  }
  std::string text = cases.empty() ? "" : indent + "case $before in\n" + cases + indent + "esac\n";
  text += indent + "if [[ $word == -* ]]; then COMPREPLY=($(compgen -W '" + join(words, " ") + "' -- \"$word\")); return; fi\n";
  std::vector<std::string> commands;
  for (const CLI::App *command : getCommands(app))
    commands.push_back(command->get_name());
  text += indent + "COMPREPLY=($(compgen -f -- \"$word\"))\n";
  if (!commands.empty())
    text += indent + "[ $COMP_CWORD -ne 1 ] || COMPREPLY+=($(compgen -W '" + join(commands, " ") + "' -- \"$word\"))\n";
  return text;
}

/// Text as roff shows it.
std::string escape(std::string_view text) {
  std::string escaped;
  for (char letter : text)
    escaped += letter == '\\' ? "\\e" : letter == '-' ? "\\-" : std::string(1, letter);
  return escaped.starts_with('.') || escaped.starts_with('\'') ? "\\&" + escaped : escaped;
}

std::string describeOption(const CLI::Option &option) {
  std::vector<std::string> names = option.nonpositional() ? getNames(option) : std::vector{option.get_name(true)};
  for (std::string &name : names)
    name = "\\fB" + escape(name) + "\\fR";
  const std::string value = option.nonpositional() ? getValue(option) : "";
  return ".TP\n" + join(names, ", ") + (value.empty() ? "" : " \\fI" + escape(value) + "\\fR") + "\n" + escape(option.get_description()) +
         "\n";
}

/// Positional arguments, then flags by group.
std::string describeOptions(const CLI::App &app) {
  std::string text;
  for (const CLI::Option *option : app.get_options([](const CLI::Option *option) { return option->get_positional(); }))
    text += describeOption(*option);
  for (const std::string &group : app.get_groups()) {
    std::string entries;
    for (const CLI::Option *option : getFlags(app))
      if (option->get_group() == group)
        entries += describeOption(*option);
    if (!entries.empty())
      text += ".SS " + escape(group) + "\n" + entries;
  }
  return text;
}

} // namespace

std::string makeBashCompletion(const CLI::App &app) {
  std::string function = "_" + app.get_name();
  std::ranges::replace(function, '-', '_');
  std::string text = "# Completion of " + app.get_name() + " for bash, made by " + app.get_name() + " --completion.\n" + function +
                     "() {\n" +
                     "  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]}\n"
                     "  # bash takes --flag=value apart at the sign\n"
                     "  if [ \"$word\" = = ]; then word=; elif [ \"$before\" = = ]; then before=${COMP_WORDS[COMP_CWORD - 2]}; fi\n";
  for (const CLI::App *command : getCommands(app))
    text += "  if [ $COMP_CWORD -gt 1 ] && [ \"${COMP_WORDS[1]}\" = " + command->get_name() + " ]; then\n" +
            completeWords(*command, "    ") + "    return\n  fi\n";
  return text + completeWords(app, "  ") + "}\ncomplete -o filenames -F " + function + " " + app.get_name();
}

std::string makeManPage(const CLI::App &app) {
  const std::string &about = app.get_description(), &name = app.get_name();
  const std::string summary = about.substr(about.starts_with(name + ": ") ? name.size() + 2 : 0);
  std::string upper = name;
  std::ranges::transform(upper, upper.begin(), [](unsigned char letter) { return char(std::toupper(letter)); });
  std::string text = ".TH " + escape(upper) + " 1 \"\" \"megacc " MEGACC_VERSION "\"\n.SH NAME\n" + escape(name) + " \\- " +
                     escape(summary) + "\n.SH SYNOPSIS\n.B " + escape(name) + "\n[\\fIOPTIONS\\fR]";
  for (const CLI::Option *option : app.get_options([](const CLI::Option *option) { return option->get_positional(); }))
    text += " \\fI" + escape(option->get_name(true)) + "\\fR";
  for (const CLI::App *command : getCommands(app)) {
    text += "\n.br\n.B " + escape(name + " " + command->get_name()) + "\n[\\fIOPTIONS\\fR]";
    for (const CLI::Option *option : command->get_options([](const CLI::Option *option) { return option->get_positional(); }))
      text += " \\fI" + escape(option->get_name(true)) + "\\fR";
  }
  text += "\n.SH OPTIONS\n" + describeOptions(app);
  for (const CLI::App *command : getCommands(app))
    text += ".SH \"" + escape(name + " " + command->get_name()) + "\"\n" + escape(command->get_description()) + "\n" +
            describeOptions(*command);
  if (std::string footer = app.get_footer(); !footer.empty())
    text += ".SH NOTES\n" + escape(footer) + "\n";
  text.pop_back(); // the program prints it with a line's end
  return text;
}

void addDocumentFlags(CLI::App &app) {
  app.add_flag_callback("--completion", [&app] { throw CLI::CallForVersion(makeBashCompletion(app), 0); }, "print completion for bash");
  app.add_flag_callback("--man", [&app] { throw CLI::CallForVersion(makeManPage(app), 0); }, "print the manual page, for man -l -");
}

} // namespace megacc
