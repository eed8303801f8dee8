package show

import (
	"fmt"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/bench/judge"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// The generated part of a page lies between these lines.
const (
	begin = "<!-- make bench writes from here -->"
	end   = "<!-- make bench writes to here -->"
)

// Splice replaces the generated part of a page by text.
func Splice(page, text string) (string, error) {
	before, rest, ok := strings.Cut(page, begin)
	_, after, okEnd := strings.Cut(rest, end)
	if !ok || !okEnd {
		return "", fmt.Errorf("the page has no lines %q and %q", begin, end)
	}
	return before + begin + "\n" + strings.TrimSpace(text) + "\n" + end + after, nil
}

// contenders is the order of contenders in tables. Others come last.
var contenders = []string{
	result.Ours, result.OursDisabled, result.OursInProcess, result.Overlay2, result.Overlay2Dis, result.ZFS, result.VFS,
	result.Overlay2Tmpfs, result.GNU,
	result.Snapshotter, result.SnapshotterInProcess, result.ContainerdOverlayfs, result.ContainerdZFS,
}

// RenderMarkdown returns the generated part of the results page.
func RenderMarkdown(r *result.Report, plot string) string {
	var b strings.Builder
	writeMachine(&b, r)
	fmt.Fprintf(&b, "![What peers need, relative to overlayzfs](%s)\n\n", plot)
	writeTargets(&b, judge.Judge(r, judge.Targets()))
	writeWins(&b, judge.Wins(r))
	writeRows(&b, r)
	writeMissing(&b, r)
	return wrapLines(b.String())
}

func writeMachine(b *strings.Builder, r *result.Report) {
	fmt.Fprintf(b, "overlayzfs %s, %s. %s.\n\n", r.Version, strings.SplitN(r.Date, "T", 2)[0], describeMachine(r.Machine))
}

// accelerators describe the machine of the race by what ran it.
var accelerators = map[string]string{
	"tcg": ", emulated (no KVM): ratios count, times do not",
	"kvm": ", a virtual machine with KVM",
	"uml": ", User-Mode Linux at the speed of the host's processor, without KVM",
}

// describeMachine names what the figures depend on.
func describeMachine(m result.Machine) string {
	processors := fmt.Sprintf("%d processors", m.CPUs)
	if m.CPUs == 1 {
		processors = "1 processor"
	}
	return fmt.Sprintf("Linux %s, OpenZFS %s, %s, %d MiB of memory%s", m.Kernel, m.OpenZFS, processors, m.MemoryMiB, accelerators[m.Accelerator])
}

func writeTargets(b *strings.Builder, verdicts []judge.Verdict) {
	b.WriteString("### Targets\n\n| target | wanted | reached | ours | other | |\n|---|---|---|---|---|---|\n")
	for _, v := range verdicts {
		state := string(v.State)
		if v.State != judge.Met {
			state = "**" + state + "**"
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", v.Title, formatWanted(v), tableCell(formatReached(v)), formatOurs(v), formatOther(v), state)
	}
	b.WriteString("\n")
	writeReasons(b, verdicts)
}

// writeReasons writes why targets are missed: each reason once, with all of its targets.
func writeReasons(b *strings.Builder, verdicts []judge.Verdict) {
	var reasons []string
	titles := map[string][]string{}
	for _, v := range verdicts {
		if v.State != judge.Missed {
			continue
		}
		if titles[v.Reason] == nil {
			reasons = append(reasons, v.Reason)
		}
		titles[v.Reason] = append(titles[v.Reason], "*"+v.Title+"*")
	}
	if len(reasons) == 0 {
		return
	}
	b.WriteString("### Why targets are missed\n\n")
	for _, reason := range reasons {
		fmt.Fprintf(b, "- %s: %s\n", strings.Join(titles[reason], ", "), reason)
	}
	b.WriteString("\n")
}

func writeWins(b *strings.Builder, wins []judge.Win) {
	b.WriteString("### Where a peer wins\n\nOurs through its socket, against peers without one; like `sync` against like. tmpfs and GNU tools are limits, not peers: all rows have them.\n\n")
	if len(wins) == 0 {
		b.WriteString("Nowhere in this run.\n\n")
		return
	}
	b.WriteString("| row | peer | it needs | we need | we need more by | |\n|---|---|---|---|---|---|\n")
	for _, w := range wins {
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s | %s |\n", w.Row.Title, w.Peer, FormatFigure(w.Them, w.Row.Unit), FormatFigure(w.Ours, w.Row.Unit), formatRatio(w.Ratio), describeDoubt(w))
	}
	b.WriteString("\n")
}

// describeDoubt says why a win may not be one.
func describeDoubt(w judge.Win) string {
	switch {
	case !w.Sure:
		return "within the spread"
	case w.Once && w.Ratio < 1.25:
		return "measured once: within the noise"
	case w.Once:
		return "measured once"
	}
	return ""
}

// writeRows writes a table for each group, with a column for each contender.
func writeRows(b *strings.Builder, r *result.Report) {
	b.WriteString("### All rows\n\nMedians; in brackets how often ours that is. ¹ measured once.\n\n")
	var groups []string
	for _, row := range r.Rows {
		if !slices.Contains(groups, row.Group) {
			groups = append(groups, row.Group)
		}
	}
	for _, group := range groups {
		writeGroup(b, r, group)
	}
}

func writeGroup(b *strings.Builder, r *result.Report, group string) {
	rows := slices.DeleteFunc(slices.Clone(r.Rows), func(row result.Row) bool { return row.Group != group })
	contenders := listContenders(r, rows)
	fmt.Fprintf(b, "| %s | %s |\n|---%s|\n", group, strings.Join(contenders, " | "), strings.Repeat("|---", len(contenders)))
	for _, row := range rows {
		fmt.Fprintf(b, "| %s |", row.Title)
		for _, c := range contenders {
			fmt.Fprintf(b, " %s |", formatMedian(r, row, c))
		}
		b.WriteString("\n")
	}
	b.WriteString("\n")
	writeNotes(b, rows)
}

// writeNotes writes each note once, with all rows that have it.
func writeNotes(b *strings.Builder, rows []result.Row) {
	var notes []string
	titles := map[string][]string{}
	for _, row := range rows {
		if row.Note == "" {
			continue
		}
		if titles[row.Note] == nil {
			notes = append(notes, row.Note)
		}
		titles[row.Note] = append(titles[row.Note], "*"+row.Title+"*")
	}
	for _, note := range notes {
		fmt.Fprintf(b, "- %s: %s\n", strings.Join(titles[note], ", "), note)
	}
	b.WriteString("\n")
}

func formatMedian(r *result.Report, row result.Row, contender string) string {
	s, ok := r.SpreadOf(row.ID, contender)
	if !ok {
		return ""
	}
	text := FormatFigure(s.Median, row.Unit)
	if s.N == 1 {
		text += "¹"
	}
	if ours, ok := r.SpreadOf(row.ID, result.Ours); ok && contender != result.Ours {
		text += " (" + formatRatio(judge.Ratio(s.Median, ours.Median)) + ")"
	}
	return text
}

// listContenders lists the contenders in rows, in order.
func listContenders(r *result.Report, rows []result.Row) []string {
	var found []string
	for _, m := range r.Measurements {
		in := slices.ContainsFunc(rows, func(row result.Row) bool { return row.ID == m.Row })
		if in && len(m.Samples) > 0 && !slices.Contains(found, m.Contender) {
			found = append(found, m.Contender)
		}
	}
	slices.SortStableFunc(found, func(a, b string) int { return contenderOrder(a) - contenderOrder(b) })
	return found
}

func contenderOrder(contender string) int {
	if i := slices.Index(contenders, contender); i >= 0 {
		return i
	}
	return len(contenders)
}

func writeMissing(b *strings.Builder, r *result.Report) {
	var lines []string
	for _, m := range r.Measurements {
		if m.Missing != "" {
			row, _ := r.Row(m.Row)
			lines = append(lines, fmt.Sprintf("- %s, %s: %s", row.Title, m.Contender, strings.Join(strings.Fields(m.Missing), " ")))
		}
	}
	if len(lines) > 0 {
		b.WriteString("### Not measured\n\n" + strings.Join(lines, "\n") + "\n")
	}
}

// tableCell makes text fit a cell of a table.
func tableCell(text string) string {
	return strings.ReplaceAll(strings.Join(strings.Fields(text), " "), "|", "\\|")
}
