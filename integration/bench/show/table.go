package show

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/overlayzfs/overlayzfs/integration/bench/judge"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// WriteTable prints all measurements row by row, with the ratio to ours.
func WriteTable(to io.Writer, r *result.Report) {
	t := table.NewWriter()
	t.SetOutputMirror(to)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"row", "contender", "median", "spread", "samples", "to ours"})
	for _, row := range r.Rows {
		title := row.Title
		for _, m := range r.Measurements {
			if m.Row != row.ID {
				continue
			}
			t.AppendRow(tableRow(r, row, m, title))
			title = ""
		}
		t.AppendSeparator()
	}
	t.Render()
}

func tableRow(r *result.Report, row result.Row, m result.Measurement, title string) table.Row {
	s := m.Spread()
	if s.N == 0 {
		return table.Row{title, m.Contender, "not measured", truncate(m.Missing), "", ""}
	}
	ratio := ""
	if ours, ok := r.SpreadOf(row.ID, result.Ours); ok && m.Contender != result.Ours {
		ratio = formatRatio(judge.Ratio(s.Median, ours.Median))
	}
	return table.Row{title, m.Contender, FormatFigure(s.Median, row.Unit), formatSpread(s, row.Unit), s.N, ratio}
}

// truncate shortens text to the width of a column.
func truncate(text string) string {
	const longest = 60
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}

// WriteVerdicts prints the result of each target.
func WriteVerdicts(to io.Writer, verdicts []judge.Verdict) {
	t := table.NewWriter()
	t.SetOutputMirror(to)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"target", "wanted", "reached", "ours", "other", ""})
	for _, v := range verdicts {
		t.AppendRow(table.Row{v.Title, formatWanted(v), formatReached(v), formatOurs(v), formatOther(v), v.State})
	}
	t.Render()
}

func formatWanted(v judge.Verdict) string {
	if v.Rule == judge.More || v.Rule == judge.Below {
		return fmt.Sprintf(plainRule(v.Rule), FormatFigure(v.Want, v.Unit))
	}
	return fmt.Sprintf(string(v.Rule), v.Want)
}

// plainRule returns the rule's format for a number with a unit.
func plainRule(r judge.Rule) string {
	if r == judge.More {
		return "at most %s more"
	}
	return "below %s"
}

func formatReached(v judge.Verdict) string {
	switch {
	case v.State == judge.Unmeasured:
		return truncate(v.Why)
	case v.Rule == judge.More || v.Rule == judge.Below:
		return formatSigned(v.Reached, v.Shown)
	}
	return formatRatio(v.Reached)
}

func formatSigned(v float64, unit result.Unit) string {
	if v < 0 {
		return "−" + FormatFigure(-v, unit)
	}
	return FormatFigure(v, unit)
}

func formatOurs(v judge.Verdict) string {
	if v.State == judge.Unmeasured {
		return ""
	}
	return FormatFigure(v.Figure, v.Shown)
}

func formatOther(v judge.Verdict) string {
	if v.State == judge.Unmeasured || v.Rule == judge.Below {
		return ""
	}
	return FormatFigure(v.Against, v.Shown)
}

// WriteSlower prints the rows that are slower than in the release.
func WriteSlower(to io.Writer, release string, slower []judge.Slower) {
	if len(slower) == 0 {
		fmt.Fprintf(to, "Nothing is slower than in %s beyond the noise.\n", release)
		return
	}
	fmt.Fprintf(to, "Slower than in %s, beyond the noise:\n", release)
	for _, s := range slower {
		fmt.Fprintf(to, "  %s, %s: %s, measured against %s\n", s.Row.Title, s.Contender, formatRatio(s.Factor), s.Peer)
	}
}
