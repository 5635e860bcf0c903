// A plan as a page of its own.
#include "lib/Plan/Plan.h"

#include "llvm/ADT/StringRef.h"

namespace megacc {
namespace {

// report.html, report.css and report.js as string literals.
constexpr llvm::StringLiteral html =
#include "lib/Plan/report.html.inc"
    ;
constexpr llvm::StringLiteral css =
#include "lib/Plan/report.css.inc"
    ;
constexpr llvm::StringLiteral js =
#include "lib/Plan/report.js.inc"
    ;

/// JSON that may stand in a script: what could end it is written by its number.
std::string escape(llvm::StringRef json) {
  std::string text;
  for (char c : json)
    text += c == '<' ? "\\u003c" : std::string(1, c);
  return text;
}

} // namespace

std::string makeReport(const Plan &plan) {
  std::string page;
  llvm::StringRef rest = html;
  for (const auto &[mark, text] : {std::pair<llvm::StringRef, std::string>("REPORT_CSS", css.str()),
                                   std::pair<llvm::StringRef, std::string>("PLAN_JSON", escape(makePlanJson(plan))),
                                   std::pair<llvm::StringRef, std::string>("REPORT_JS", js.str())}) {
    auto [before, after] = rest.split(mark);
    page += before.str() + text;
    rest = after;
  }
  return page + rest.str();
}

} // namespace megacc
