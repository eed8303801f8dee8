package show

import (
	"fmt"
	"io"

	"github.com/jedib0t/go-pretty/v6/table"

	"github.com/overlayzfs/overlayzfs/integration/bench/judge"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// Table prints everything that was measured, row by row, with what each
// contender needs relative to ours.
func Table(to io.Writer, r *result.Report) {
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
		return table.Row{title, m.Contender, "not measured", short(m.Missing), "", ""}
	}
	ratio := ""
	if ours, ok := r.Of(row.ID, result.Ours); ok && m.Contender != result.Ours {
		ratio = times(judge.Ratio(s.Median, ours.Median))
	}
	return table.Row{title, m.Contender, Figure(s.Median, row.Unit), spread(s, row.Unit), s.N, ratio}
}

// short keeps a table's column from becoming a page.
func short(text string) string {
	const longest = 60
	if runes := []rune(text); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return text
}

// Verdicts prints what became of the targets.
func Verdicts(to io.Writer, verdicts []judge.Verdict) {
	t := table.NewWriter()
	t.SetOutputMirror(to)
	t.SetStyle(table.StyleLight)
	t.AppendHeader(table.Row{"target", "wanted", "reached", "ours", "other", ""})
	for _, v := range verdicts {
		t.AppendRow(table.Row{v.Title, wanted(v), reached(v), ours(v), against(v), v.State})
	}
	t.Render()
}

func wanted(v judge.Verdict) string {
	if v.Rule == judge.More || v.Rule == judge.Below {
		return fmt.Sprintf(plainRule(v.Rule), Figure(v.Want, v.Unit))
	}
	return fmt.Sprintf(string(v.Rule), v.Want)
}

// plainRule takes the number with its unit.
func plainRule(r judge.Rule) string {
	if r == judge.More {
		return "at most %s more"
	}
	return "below %s"
}

func reached(v judge.Verdict) string {
	switch {
	case v.State == judge.Unmeasured:
		return short(v.Why)
	case v.Rule == judge.More || v.Rule == judge.Below:
		return signed(v.Reached, v.Shown)
	}
	return times(v.Reached)
}

func signed(v float64, unit result.Unit) string {
	if v < 0 {
		return "−" + Figure(-v, unit)
	}
	return Figure(v, unit)
}

func ours(v judge.Verdict) string {
	if v.State == judge.Unmeasured {
		return ""
	}
	return Figure(v.Figure, v.Shown)
}

func against(v judge.Verdict) string {
	if v.State == judge.Unmeasured || v.Rule == judge.Below {
		return ""
	}
	return Figure(v.Against, v.Shown)
}

// Slower prints what lost ground since the release.
func Slower(to io.Writer, release string, slower []judge.Slower) {
	if len(slower) == 0 {
		fmt.Fprintf(to, "Nothing is slower than in %s beyond the noise.\n", release)
		return
	}
	fmt.Fprintf(to, "Slower than in %s, beyond the noise:\n", release)
	for _, s := range slower {
		fmt.Fprintf(to, "  %s, %s: %s, measured against %s\n", s.Row.Title, s.Contender, times(s.Factor), s.Peer)
	}
}
