package result

import (
	"bytes"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

func TestASpreadSummarizesSamples(t *testing.T) {
	for _, c := range []struct {
		samples []float64
		want    Spread
	}{
		{nil, Spread{}},
		{[]float64{3}, Spread{3, 3, 3, 1}},
		{[]float64{9, 1}, Spread{5, 1, 9, 2}},
		{[]float64{9, 1, 2}, Spread{2, 1, 9, 3}},
		{[]float64{4, 3, 2, 1}, Spread{2.5, 1, 4, 4}},
	} {
		if got := MeasureSpread(c.samples); got != c.want {
			t.Errorf("%v: %v, want %v", c.samples, got, c.want)
		}
	}
}

func TestASpreadDoesNotReorderSamples(t *testing.T) {
	samples := []float64{3, 1, 2}
	MeasureSpread(samples)
	if !reflect.DeepEqual(samples, []float64{3, 1, 2}) {
		t.Errorf("the samples are now %v", samples)
	}
}

const valid = `{"version":"v1","date":"2026-01-02T03:04:05Z",
	"machine":{"kernel":"6.12","openzfs":"2.3.9","cpus":2,"accelerator":"tcg"},
	"rows":[{"id":"a","title":"A","unit":"ms","group":"g"}],
	"measurements":[{"row":"a","contender":"x","samples":[1,2]},{"row":"a","contender":"y","missing":"no time"}]}`

func TestInvalidReportsAreRefused(t *testing.T) {
	if _, err := Read(strings.NewReader(valid)); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new, want string }{
		{`"cpus"`, `"processors"`, "unknown field"},
		{`"unit":"ms"`, `"unit":"s"`, "unknown unit"},
		{`"id":"a"`, `"id":""`, "no id"},
		{`"row":"a","contender":"x"`, `"row":"b","contender":"x"`, "unknown row"},
		{`"contender":"x"`, `"contender":""`, "no contender"},
		{`"contender":"x"`, `"contender":"y"`, "twice"},
		{`[1,2]`, `[1,-2]`, "sample -2"},
		{`,"missing":"no time"`, ``, "neither samples nor a reason"},
		{`"group":"g"}]`, `"group":"g"},{"id":"a","title":"B","unit":"ms","group":"g"}]`, "twice"},
		{`"no time"}]}`, `"no time"}]} {}`, "more after it"},
		{`"no time"}]}`, ``, "decode"},
	} {
		text := strings.Replace(valid, c.old, c.new, 1)
		if _, err := Read(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v, want %q", c.new, c.old, err, c.want)
		}
	}
}

func TestAReportIsWrittenAndRead(t *testing.T) {
	r := &Report{Version: "v1"}
	row := Row{ID: "a", Title: "A", Unit: Bytes, Group: "g", Note: "n"}
	r.AddSample(row, Ours, 1)
	r.AddSample(row, Ours, 2)
	r.SetMissing(row, ZFS, "no time")
	name := filepath.Join(t.TempDir(), "report.json")
	if err := r.WriteFile(name); err != nil {
		t.Fatal(err)
	}
	again, err := ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(r, again) {
		t.Errorf("%+v, want %+v", again, r)
	}
	if _, ok := again.SpreadOf("a", ZFS); ok {
		t.Error("a missing measurement has a spread")
	}
}

func TestAnInvalidReportIsNotWritten(t *testing.T) {
	r := &Report{Measurements: []Measurement{{Row: "a", Contender: "x"}}}
	if err := r.Write(&bytes.Buffer{}); err == nil {
		t.Error("written")
	}
}

func TestReportsAreMerged(t *testing.T) {
	a, b := Row{ID: "a", Unit: Count}, Row{ID: "b", Unit: Count}
	one, two := &Report{Version: "v1"}, &Report{Version: "v2"}
	one.AddSample(a, Ours, 1)
	two.AddSample(a, Ours, 2)
	two.AddSample(b, Ours, 3)
	two.SetMissing(b, ZFS, "no time")
	merged, err := Merge(one, two)
	if err != nil {
		t.Fatal(err)
	}
	want := &Report{Version: "v1", Rows: []Row{a, b}, Measurements: []Measurement{
		{Row: "a", Contender: Ours, Samples: []float64{1, 2}},
		{Row: "b", Contender: Ours, Samples: []float64{3}},
		{Row: "b", Contender: ZFS, Missing: "no time"},
	}}
	if !reflect.DeepEqual(merged, want) {
		t.Errorf("%+v, want %+v", merged, want)
	}
	two.Rows[0].Title = "another"
	if _, err := Merge(one, two); err == nil {
		t.Error("rows that differ were merged")
	}
}
