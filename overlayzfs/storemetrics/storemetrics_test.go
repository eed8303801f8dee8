package storemetrics

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/sirupsen/logrus"

	"github.com/overlayzfs/overlayzfs/internal/fault"
	"github.com/overlayzfs/overlayzfs/internal/metrics"
	"github.com/overlayzfs/overlayzfs/overlayzfs"
	"github.com/overlayzfs/overlayzfs/quota"
	"github.com/overlayzfs/overlayzfs/zfs"
)

func quiet() *logrus.Logger {
	log := logrus.New()
	log.SetOutput(io.Discard)
	return log
}

// serving is an Observer that is served on a unix socket, and a client.
type serving struct {
	*Observer
	counts *metrics.Metrics
	client *http.Client
	socket string
	stop   func()
}

func serve(t *testing.T, log *logrus.Logger) *serving {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "metrics.sock")
	a, err := metrics.ParseAddress("unix:" + socket)
	if err != nil {
		t.Fatal(err)
	}
	m := metrics.New(metrics.Build{Version: "v1.2.3", Commit: "abcdef"}, log)
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) { return net.Dial("unix", socket) }}
	s := &serving{New(m, log), m, &http.Client{Transport: transport}, socket, m.Start(a)}
	t.Cleanup(func() { transport.CloseIdleConnections(); s.stop() })
	return s
}

// families are the results of a scrape, read by Prometheus' own parser.
type families map[string]*dto.MetricFamily

func (s *serving) scrape(t *testing.T) families {
	t.Helper()
	answer, err := s.client.Get("http://metrics/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Fatal(answer.Status)
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	found, err := parser.TextToMetricFamilies(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// get returns the metric of a name with these labels ("name=value"), or nil.
func (f families) get(name string, labels ...string) *dto.Metric {
	for _, metric := range f["overlayzfs_"+name].GetMetric() {
		has := map[string]bool{}
		for _, pair := range metric.Label {
			has[pair.GetName()+"="+pair.GetValue()] = true
		}
		all := true
		for _, label := range labels {
			all = all && has[label]
		}
		if all {
			return metric
		}
	}
	return nil
}

// number returns the value of a gauge or counter, and -1 when there is none.
func (f families) number(name string, labels ...string) float64 {
	metric := f.get(name, labels...)
	switch {
	case metric.GetGauge() != nil:
		return metric.Gauge.GetValue()
	case metric.GetCounter() != nil:
		return metric.Counter.GetValue()
	}
	return -1
}

func want(t *testing.T, f families, value float64, name string, labels ...string) {
	t.Helper()
	if got := f.number(name, labels...); got != value {
		t.Errorf("%s %v is %v, want %v", name, labels, got, value)
	}
}

func TestCallsAndBarriersAreCounted(t *testing.T) {
	s := serve(t, quiet())
	s.counts.Call("create read-write")(nil)
	s.counts.Call("put")(fault.New(fault.NoSpace, "full"))
	s.counts.Call("put")(errors.New("odd"))
	s.counts.Call("put")(fmt.Errorf("cut: %w", errors.Join(context.Canceled, fault.New(fault.NoSpace, "full"))))
	s.counts.Call("diff") // at work
	s.ObserveBarrier(overlayzfs.TxgBarrier, 3*time.Second, nil)
	s.ObserveBarrier(overlayzfs.TxgBarrier, time.Second, errors.New("the pool is gone"))

	f := s.scrape(t)
	want(t, f, 1, "build_info", "version=v1.2.3", "commit=abcdef")
	want(t, f, 1, "operation_errors_total", "operation=put", "class=no_space")
	want(t, f, 1, "operation_errors_total", "operation=put", "class=other")
	want(t, f, 1, "operation_errors_total", "operation=put", "class=canceled")
	want(t, f, 1, "operations_in_progress", "operation=diff")
	want(t, f, 0, "operations_in_progress", "operation=put")
	if n := f.get("operation_duration_seconds", "operation=put").GetHistogram().GetSampleCount(); n != 3 {
		t.Errorf("%d calls of put", n)
	}
	if n := f.get("operation_duration_seconds", "operation=create_read_write").GetHistogram().GetSampleCount(); n != 1 {
		t.Errorf("%d calls of create", n)
	}
	if h := f.get("barrier_duration_seconds", "by=txg").GetHistogram(); h.GetSampleCount() != 2 || h.GetSampleSum() != 4 {
		t.Errorf("waits for groups: %v", h)
	}
	want(t, f, 1, "barrier_errors_total", "by=txg")
	want(t, f, 0, "barrier_errors_total", "by=zil")
	want(t, f, 0, "store_up")
	if f["process_open_fds"] == nil || f["go_goroutines"] == nil {
		t.Error("nothing of the process")
	}
}

// answers is a store with the given stats.
type answers struct {
	stats overlayzfs.Stats
	err   error
}

func (a *answers) Stats() (overlayzfs.Stats, error) { return a.stats, a.err }

// full are the stats of a store of which everything is known.
func full() overlayzfs.Stats {
	return overlayzfs.Stats{
		Dataset: "tank/docker",
		Pool:    zfs.Pool{Name: "tank", Health: "DEGRADED", Size: 100, Allocated: 60, Free: 40},
		CopyUp:  overlayzfs.CopyUp{Took: 500 * time.Millisecond},
		Space:   &overlayzfs.Space{Used: 50, Logical: 80, Snapshots: 5, Available: 30},
		Content: &overlayzfs.Content{Layers: 7, Mounts: 2, Removing: 3, Limited: []overlayzfs.LimitedLayer{
			{ID: "calm", Limits: quota.Limits{Bytes: 100, Inodes: 100}, Usage: quota.Usage{Bytes: 79, Inodes: 1}},
			{ID: "big", Limits: quota.Limits{Bytes: 100}, Usage: quota.Usage{Bytes: 95, Inodes: 1000}},
			{ID: "both", Limits: quota.Limits{Bytes: 100, Inodes: 10}, Usage: quota.Usage{Bytes: 80, Inodes: 10}},
		}},
	}
}

func TestTheStoreIsAskedAtEachScrape(t *testing.T) {
	s := serve(t, quiet())
	a := &answers{stats: full()}
	s.Watch(a)
	f := s.scrape(t)
	for name, value := range map[string]float64{
		"store_up": 1, "layers": 7, "mounts": 2, "removals_pending": 3, "limited_layers": 3, "limited_layers_near_full": 2,
	} {
		want(t, f, value, name)
	}
	want(t, f, 1, "store_info", "dataset=tank/docker", "pool=tank")
	want(t, f, 0.95, "limit_used_ratio", "layer=big", "limit=size")
	want(t, f, 0.8, "limit_used_ratio", "layer=both", "limit=size")
	want(t, f, 1, "limit_used_ratio", "layer=both", "limit=inodes")
	if f.get("limit_used_ratio", "layer=calm") != nil || f.get("limit_used_ratio", "layer=big", "limit=inodes") != nil {
		t.Error("a series of a layer that is far from its limit, or has none")
	}
	want(t, f, 1, "pool_state", "pool=tank", "state=DEGRADED")
	want(t, f, 0, "pool_state", "pool=tank", "state=ONLINE")
	for name, value := range map[string]float64{"pool_size_bytes": 100, "pool_allocated_bytes": 60, "pool_free_bytes": 40} {
		want(t, f, value, name, "pool=tank")
	}
	for name, value := range map[string]float64{
		"dataset_used_bytes": 50, "dataset_logical_used_bytes": 80, "dataset_snapshots_used_bytes": 5, "dataset_available_bytes": 30,
	} {
		want(t, f, value, name, "dataset=tank/docker")
	}

	want(t, f, 0.5, "copy_up_seconds", "by=rename")

	a.stats.Content.Layers, a.stats.CopyUp.Waits = 8, errors.New("no fanotify")
	f = s.scrape(t)
	want(t, f, 8, "layers")
	want(t, f, 0.5, "copy_up_seconds", "by=tmpfile")

	a.stats.CopyUp = overlayzfs.CopyUp{Waits: errors.New("the listener has ended")}
	f = s.scrape(t)
	if took := f.number("copy_up_seconds", "by=tmpfile"); !math.IsNaN(took) || f.get("copy_up_seconds", "by=rename") != nil {
		t.Errorf("copy-ups that wait and were not measured take %v", took)
	}
}

// TestASuspendedPool makes sure that the state is known and no other number is made up.
func TestASuspendedPool(t *testing.T) {
	s := serve(t, quiet())
	s.Watch(&answers{stats: overlayzfs.Stats{Dataset: "tank/docker", Pool: zfs.Pool{Name: "tank", Health: zfs.PoolSuspended}}})
	f := s.scrape(t)
	want(t, f, 1, "pool_state", "state=SUSPENDED")
	for _, name := range []string{"layers", "mounts", "pool_free_bytes", "dataset_used_bytes", "limited_layers_near_full"} {
		if f.get(name) != nil {
			t.Errorf("%s is shown", name)
		}
	}
}

func TestAStoreThatCannotBeAsked(t *testing.T) {
	var out bytes.Buffer
	log := quiet()
	log.SetOutput(&out)
	s := serve(t, log)
	a := &answers{err: fault.New(fault.HomeGone, "the dataset is no longer mounted")}
	s.Watch(a)
	for range 3 {
		want(t, s.scrape(t), 0, "store_up")
	}
	if n := strings.Count(out.String(), "no longer mounted"); n != 1 {
		t.Errorf("said %d times:\n%s", n, out.String())
	}
	*a = answers{stats: full()}
	want(t, s.scrape(t), 1, "store_up")

	s.store.clearCurrent(&answers{}) // another, that was open before
	want(t, s.scrape(t), 1, "store_up")
	s.store.clearCurrent(a)
	want(t, s.scrape(t), 0, "store_up")
}

// TestNamesAreAsPrometheusWantsThem asks Prometheus' own linter.
func TestNamesAreAsPrometheusWantsThem(t *testing.T) {
	m := metrics.New(metrics.Build{Version: "v1", Commit: "abc"}, quiet())
	m.Call("put")(errors.New("odd"))
	New(m, quiet()).Watch(&answers{stats: full()})
	problems, err := testutil.GatherAndLint(m.Gatherer())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}
