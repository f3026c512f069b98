package source

import (
	"cmp"
	"encoding/json"
	"io"
	"net/url"
	"path/filepath"
	"unicode/utf8"
)

// Severities of a finding.
const (
	severityError   = "error"
	severityWarning = "warning"
)

// severity is that of e: what has a rule is a warning.
func (e *Error) severity() string {
	if e.Rule != "" {
		return severityWarning
	}
	return severityError
}

// columns are the first column of e and the one after its last, from 1, in
// characters.
func (e *Error) columns() (start, end int) {
	line := e.Pos.File.Line(e.Pos.Line)
	from := min(max(e.Pos.Col-1, 0), len(line))
	to := min(from+max(e.Len, 1), len(line))
	start = utf8.RuneCountInString(line[:from]) + 1
	return start, start + max(utf8.RuneCountInString(line[from:to]), 1)
}

// WriteJSON writes l as one JSON object: {"findings": [{"severity", "rule",
// "file", "line", "column", "endColumn", "path", "message", "hint"}]}. Lines and
// columns count from 1, columns in characters; endColumn is the one after.
func WriteJSON(w io.Writer, l Errors) error {
	type finding struct {
		Severity  string `json:"severity"`
		Rule      string `json:"rule,omitempty"`
		File      string `json:"file"`
		Line      int    `json:"line"`
		Column    int    `json:"column"`
		EndColumn int    `json:"endColumn"`
		Path      string `json:"path,omitempty"`
		Message   string `json:"message"`
		Hint      string `json:"hint,omitempty"`
	}
	out := struct {
		Findings []finding `json:"findings"`
	}{[]finding{}}
	for _, e := range l {
		start, end := e.columns()
		out.Findings = append(out.Findings, finding{
			e.severity(), e.Rule, e.Pos.File.Name, e.Pos.Line, start, end, e.Path, e.Msg, e.Hint,
		})
	}
	return encode(w, out)
}

func encode(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

type object = map[string]any

// WriteSARIF writes l as a SARIF log (OASIS SARIF 2.1.0).
func WriteSARIF(w io.Writer, l Errors) error {
	results, rules := []object{}, []object{}
	known := map[string]bool{}
	for _, e := range l {
		rule := cmp.Or(e.Rule, "InvalidManifest")
		if !known[rule] {
			known[rule] = true
			rules = append(rules, object{"id": rule})
		}
		text := e.Msg
		if e.Path != "" {
			text = e.Path + ": " + text
		}
		if e.Hint != "" {
			text += " (" + e.Hint + ")"
		}
		start, end := e.columns()
		results = append(results, object{
			"ruleId": rule, "level": e.severity(), "message": object{"text": text},
			"locations": []object{{"physicalLocation": object{
				"artifactLocation": object{"uri": (&url.URL{Path: filepath.ToSlash(e.Pos.File.Name)}).String()},
				"region":           object{"startLine": e.Pos.Line, "startColumn": start, "endColumn": end},
			}}},
		})
	}
	return encode(w, object{
		"$schema": "https://json.schemastore.org/sarif-2.1.0.json",
		"version": "2.1.0",
		"runs": []object{{
			"columnKind": "unicodeCodePoints", // §3.14.17
			"tool": object{"driver": object{
				"name": "lkx", "informationUri": "https://github.com/lkx-os/lkx", "rules": rules,
			}},
			"results": results,
		}},
	})
}
