package engine

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

func TestAFailureIsFoundInMessages(t *testing.T) {
	for _, c := range []struct{ messages, want string }{
		{"", ""},
		{`{"stream":"Step 1/2"}` + "\r\n" + `{"aux":{"ID":"sha256:1"}}`, ""},
		{`{"stream":"a"}{"errorDetail":{"message":"no"},"error":"no"}{"stream":"b"}`, "no"},
		{`{"stream":`, "decode progress messages"},
	} {
		err := findFailure([]byte(c.messages))
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.messages, err, c.want)
		}
	}
}

func TestCallsAreSummedFromTheLog(t *testing.T) {
	log := `time="t" level=error msg="level=debug msg=done duration=1.5ms layer=b op=get" plugin=x
time="t" level=error msg="level=debug msg=done duration=2ms layer=a op=\"create read-write\"" plugin=x
time="t" level=error msg="level=debug msg=done duration=\"250µs\" layer=a op=get" plugin=x
time="t" level=info msg="something else"
time="t" level=error msg="level=debug msg=done duration=soon op=get" plugin=x
`
	want := callTally{
		"create read-write": {"create read-write", 1, 2 * time.Millisecond, 2 * time.Millisecond},
		"get":               {"get", 2, 1750 * time.Microsecond, 1500 * time.Microsecond},
	}
	if got := parseTally(log); !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if got, want := want.sum(), 3750*time.Microsecond; got != want {
		t.Errorf("together %v, want %v", got, want)
	}
}

func TestTheBaseLayerIsAlwaysTheSame(t *testing.T) {
	layer, err := makeBaseLayer([]byte("program"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := makeBaseLayer([]byte("program"))
	if err != nil || !bytes.Equal(layer, again) {
		t.Errorf("it differs each time: %v", err)
	}
	files := 0
	for _, h := range headers(t, layer) {
		if h.Typeflag == tar.TypeReg {
			files++
		}
	}
	if want := 1 + baseDirs*filesPerDir; files != want {
		t.Errorf("%d files, want %d", files, want)
	}
}

func headers(t *testing.T, archive []byte) (all []*tar.Header) {
	t.Helper()
	in := tar.NewReader(bytes.NewReader(archive))
	for {
		h, err := in.Next()
		if err == io.EOF {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, h)
	}
}

func TestLoadedLayersDiffer(t *testing.T) {
	layers, err := makeLoadedLayers()
	if err != nil {
		t.Fatal(err)
	}
	for i, layer := range layers {
		if slices.ContainsFunc(layers[:i], func(other []byte) bool { return bytes.Equal(layer, other) }) {
			t.Errorf("layer %d is there twice: it would be loaded once", i)
		}
	}
}

func TestTheDockerfileMatchesItsFiles(t *testing.T) {
	files := makeBuildFiles()
	count := make(map[string]int)
	for line := range strings.Lines(string(files["Dockerfile"])) {
		words := strings.Fields(line)
		count[words[0]]++
		if words[0] == "COPY" && files[words[1]] == nil {
			t.Errorf("%s: there is no such file", line)
		}
	}
	if count["FROM"] != 1 || count["COPY"]+count["RUN"] != buildSteps || count["RUN"] != buildSteps/runEvery {
		t.Errorf("%v", count)
	}
}

func TestContendersAndWorkloadsAreChosen(t *testing.T) {
	for _, c := range []struct {
		drivers, rows []string
		want          string // of the error, or the chosen workloads
	}{
		{[]string{"vfs"}, []string{"three", "run"}, "run three"},
		{Default, nil, strings.Join(Workloads(), " ")},
		{[]string{"btrfs"}, nil, "no contender"},
		{Default, []string{"walk"}, "no workload"},
	} {
		r := &race{Options: Options{Drivers: c.drivers, Rows: c.rows}}
		err := r.chooseEntries()
		if err != nil {
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v %v: %v, want %q", c.drivers, c.rows, err, c.want)
			}
			continue
		}
		var keys []string
		for _, w := range r.workloads {
			keys = append(keys, w.key)
		}
		if got := strings.Join(keys, " "); got != c.want || len(r.entries) != len(c.drivers) {
			t.Errorf("%v %v: %s with %d contenders", c.drivers, c.rows, got, len(r.entries))
		}
	}
}

func TestRowsMakeAValidReport(t *testing.T) {
	report := &result.Report{}
	for _, w := range workloads {
		for _, row := range w.rows {
			report.AddSample(row, result.Ours, 1)
			if row.Unit == result.Milliseconds {
				report.AddSample(storageRow(row), result.Ours, 1)
			}
		}
	}
	if err := report.Check(); err != nil {
		t.Error(err)
	}
}

func TestTheStubReportsFailuresAndCleansUp(t *testing.T) {
	s := &testingStub{log: io.Discard}
	var order []int
	s.Cleanup(func() { order = append(order, 1) })
	s.Cleanup(func() { s.Fatalf("no: %w", errors.ErrUnsupported) })
	s.Cleanup(func() { order = append(order, 2) })
	err := s.close()
	if !errors.Is(err, errors.ErrUnsupported) || !s.Failed() {
		t.Errorf("failed %v with %v", s.Failed(), err)
	}
	if want := []int{2, 1}; !slices.Equal(order, want) {
		t.Errorf("cleaned up in the order %v, want %v", order, want)
	}
	if err := s.close(); err != nil {
		t.Errorf("cleaned up twice: %v", err)
	}
}
