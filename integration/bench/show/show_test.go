package show

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/overlayzfs/overlayzfs/integration/bench/judge"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

func TestFiguresAreFormatted(t *testing.T) {
	for _, c := range []struct {
		value float64
		unit  result.Unit
		want  string
	}{
		{0, result.Milliseconds, "0 ms"},
		{0.0612, result.Milliseconds, "0.061 ms"},
		{1.234, result.Milliseconds, "1.23 ms"},
		{45.67, result.Milliseconds, "45.7 ms"},
		{999.4, result.Milliseconds, "999 ms"},
		{12_345, result.Milliseconds, "12.3 s"},
		{512, result.Bytes, "512 B"},
		{1536, result.Bytes, "1.50 KiB"},
		{64 << 20, result.Bytes, "64.0 MiB"},
		{3 << 40, result.Bytes, "3072 GiB"},
		{10_000.5, result.Count, "10000.5"},
		{7, result.Count, "7"},
		{2.345, result.Factor, "2.35×"},
	} {
		if got := FormatFigure(c.value, c.unit); got != c.want {
			t.Errorf("%v %s: %q, want %q", c.value, c.unit, got, c.want)
		}
	}
}

func TestTheGeneratedPartIsReplaced(t *testing.T) {
	const old = "top\n" + begin + "\nold\n" + end + "\nbottom\n"
	got, err := Splice(old, "\nnew\n\n")
	if want := "top\n" + begin + "\nnew\n" + end + "\nbottom\n"; err != nil || got != want {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, page := range []string{"", begin, end, end + begin} {
		if _, err := Splice(page, "new"); err == nil {
			t.Errorf("%q is accepted as a page", page)
		}
	}
}

func example() *result.Report {
	r := &result.Report{Version: "v1.2", Date: "2026-01-02T03:04:05Z", Machine: result.Machine{Kernel: "6.12", OpenZFS: "2.3.9", CPUs: 2, Accelerator: "tcg"}}
	cycle := result.Row{ID: "cycle", Title: "a layer", Unit: result.Milliseconds, Group: "layers", Note: "Warm."}
	r.AddSample(cycle, result.ZFS, 1000)
	r.AddSample(cycle, result.Ours, 10)
	r.AddSample(cycle, result.Ours, 20)
	r.AddSample(cycle, result.Overlay2, 5)
	r.SetMissing(cycle, result.Overlay2Tmpfs, "no | time")
	r.AddSample(result.Row{ID: "memory.peak", Title: "memory", Unit: result.Bytes, Group: "plugin"}, result.Ours, 1<<20)
	return r
}

func TestThePageShowsAllParts(t *testing.T) {
	text := RenderMarkdown(example(), "plot.svg")
	for _, want := range []string{
		"overlayzfs v1.2, 2026-01-02. Linux 6.12, OpenZFS 2.3.9, 2 processors",
		"emulated",
		"](plot.svg)",
		"| create, mount, write, unmount a layer: overlay2 | at most 1.2 times | 3.00× | 15.0 ms | 5.00 ms | **missed** |",
		"| memory of the plugin over everything | below 64.0 MiB | 1.00 MiB | 1.00 MiB |  | met |",
		"| a layer | overlay2 | 5.00 ms | 15.0 ms | 3.00× | measured once |",
		"| layers | overlayzfs | overlay2 | zfs |",
		"| a layer | 15.0 ms | 5.00 ms¹ (0.33×) | 1.00 s¹ (66.7×) |",
		"- *a layer*: Warm.",
		"- a layer, overlay2 on tmpfs: no | time",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestTheSummaryShowsItsRows(t *testing.T) {
	text := RenderSummary(example())
	for _, want := range []string{
		"Linux 6.12, OpenZFS 2.3.9, 2 processors", "emulated",
		"| create, mount, write, unmount a layer | 15.0 ms | 5.00 ms | 1.00 s |",
		"| 20-step build, storage calls of BuildKit |  |  |  |",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
}

func TestMissedTargetsHaveTheirReason(t *testing.T) {
	missed := judge.Verdict{Target: judge.Target{Title: "a", Reason: "the socket"}, State: judge.Missed}
	same, met := missed, missed
	same.Title = "b"
	met.Title, met.State = "c", judge.Met
	var b strings.Builder
	writeReasons(&b, []judge.Verdict{missed, same, met})
	if want := "- *a*, *b*: the socket\n"; !strings.Contains(b.String(), want) || strings.Contains(b.String(), "*c*") {
		t.Errorf("%q, want %q", b.String(), want)
	}
}

func TestWrapLines(t *testing.T) {
	long := strings.Repeat("word¹ ", 30) + "end"
	page := wrapLines("- " + long + "\n\n" + long + "\n| " + long + " |\n")
	for line := range strings.Lines(page) {
		if length := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); length > 100 && !strings.HasPrefix(line, "| ") {
			t.Errorf("%d columns: %s", length, line)
		}
	}
	want := "- " + long + " " + long + " | " + long + " |"
	if got := strings.Join(strings.Fields(page), " "); got != strings.Join(strings.Fields(want), " ") {
		t.Errorf("words changed: %s", got)
	}
}

func TestTheTerminalShowsAllParts(t *testing.T) {
	var out bytes.Buffer
	r := example()
	WriteTable(&out, r)
	WriteVerdicts(&out, judge.Judge(r, judge.Targets()))
	WriteSlower(&out, "v1.1", []judge.Slower{{Row: r.Rows[0], Contender: result.Ours, Factor: 1.5, Peer: result.ZFS}})
	WriteSlower(&out, "v1.1", nil)
	for _, want := range []string{
		"10.0 ms – 20.0 ms", "66.7×", "not measured", "no | time",
		"a layer, overlayzfs: 1.50×, measured against zfs", "Nothing is slower than in v1.1",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in\n%s", want, out.String())
		}
	}
}

func TestThePlotShowsRowsOfTimes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plot.svg")
	if err := WritePlot(example(), file); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(text), "a layer") || strings.Contains(string(text), "memory") {
		t.Errorf("%v, %s", err, text)
	}
}
