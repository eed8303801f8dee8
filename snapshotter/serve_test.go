package snapshotter

import (
	"context"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	snapshotsapi "github.com/containerd/containerd/api/services/snapshots/v1"
	"github.com/containerd/containerd/v2/core/snapshots"
	"github.com/containerd/containerd/v2/core/snapshots/proxy"
	"github.com/containerd/errdefs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	healthapi "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// served is a Server at work.
type served struct {
	conn   *grpc.ClientConn
	client snapshots.Snapshotter
	told   chan error
	stop   context.CancelFunc
	ended  chan error
}

func serve(t *testing.T, opened func(context.Context) (Backend, error)) *served {
	t.Helper()
	return serveOn(t, NewServer(quiet()), opened)
}

func serveOn(t *testing.T, server *Server, opened func(context.Context) (Backend, error)) *served {
	t.Helper()
	path := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := &served{told: make(chan error, 10), ended: make(chan error, 1)}
	server.Notify = func(err error) { s.told <- err }
	var ctx context.Context
	ctx, s.stop = context.WithCancel(t.Context())
	go func() { s.ended <- server.Serve(ctx, l, opened) }()
	s.conn, err = grpc.NewClient("unix:"+path, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.conn.Close() })
	s.client = proxy.NewSnapshotter(snapshotsapi.NewSnapshotsClient(s.conn), "overlayzfs")
	return s
}

func (s *served) health(t *testing.T) healthapi.HealthCheckResponse_ServingStatus {
	t.Helper()
	got, err := healthapi.NewHealthClient(s.conn).Check(t.Context(), &healthapi.HealthCheckRequest{Service: "containerd.services.snapshots.v1.Snapshots"})
	if err != nil {
		t.Fatal(err)
	}
	return got.Status
}

func TestCallsWaitForTheStore(t *testing.T) {
	f := newFakeStore()
	let := make(chan struct{})
	s := serve(t, func(ctx context.Context) (Backend, error) {
		<-let
		return open(ctx, f, t.TempDir(), Options{}, quiet())
	})
	if got := s.health(t); got != healthapi.HealthCheckResponse_NOT_SERVING {
		t.Errorf("not open, and healthy: %v", got)
	}
	short, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := s.client.Stat(short, "x"); err == nil {
		t.Error("an answer from a store that is not open")
	}
	close(let)
	if _, err := s.client.Prepare(t.Context(), "a", ""); err != nil {
		t.Fatal(err)
	}
	if err := <-s.told; err != nil {
		t.Errorf("told %v", err)
	}
	if got := s.health(t); got != healthapi.HealthCheckResponse_SERVING {
		t.Errorf("health is %v", got)
	}
	s.stop()
	if err := <-s.ended; err != nil || f.closed != 1 {
		t.Errorf("ended with %v, closed %d times", err, f.closed)
	}
}

func TestAStoreThatDoesNotOpenIsTriedAgain(t *testing.T) {
	tries := 0
	s := serve(t, func(ctx context.Context) (Backend, error) {
		tries++
		if tries == 1 {
			return nil, fault.New(fault.PoolUnavailable, "pool tank is suspended")
		}
		if tries == 2 {
			panic("as the test wants it")
		}
		return open(ctx, newFakeStore(), t.TempDir(), Options{}, quiet())
	})
	if err := <-s.told; err == nil {
		t.Error("told it is open")
	}
	for try, err := tries, error(nil); try < 4; try++ {
		_, err = s.client.Stat(t.Context(), "x")
		if try == 3 && !errdefs.IsNotFound(err) || err == nil {
			t.Errorf("try %d: %v", try, err)
		}
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// TestAStopDoesNotWaitForTheStore: calls that do are answered at once, and not when
// the time for calls at work is over.
func TestAStopDoesNotWaitForTheStore(t *testing.T) {
	asked := make(chan struct{})
	server := NewServer(quiet())
	server.grace = time.Hour
	s := serveOn(t, server, func(ctx context.Context) (Backend, error) {
		close(asked)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	answered := make(chan error, 1)
	go func() {
		_, err := s.client.Stat(context.Background(), "x")
		answered <- err
	}()
	<-asked
	s.stop()
	if err := <-answered; err == nil || errdefs.IsNotFound(err) {
		t.Errorf("the call got %v", err)
	}
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// TestHealthIsOfNow: a pool that was lost since the store was opened.
func TestHealthIsOfNow(t *testing.T) {
	f := newFakeStore()
	s := serve(t, func(ctx context.Context) (Backend, error) {
		return open(ctx, f, t.TempDir(), Options{}, quiet())
	})
	if err := <-s.told; err != nil {
		t.Fatal(err)
	}
	if _, err := s.client.Prepare(t.Context(), "a", ""); err != nil { // once it was told, the store is there
		t.Fatal(err)
	}
	for range 2 {
		if got := s.health(t); got != healthapi.HealthCheckResponse_SERVING {
			t.Errorf("health is %v", got)
		}
		f.lose(fault.New(fault.PoolUnavailable, "pool tank is suspended"))
		if got := s.health(t); got != healthapi.HealthCheckResponse_NOT_SERVING {
			t.Errorf("without a pool health is %v", got)
		}
		f.lose(nil)
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// TestAStoreThatIsNotThereHasNoSnapshotsThatAreNot: of a pool that is not
// imported ZFS says "not found", and of another's store the core says "exists".
// containerd must take neither for an answer about a snapshot.
func TestAStoreThatIsNotThereHasNoSnapshotsThatAreNot(t *testing.T) {
	for _, class := range []fault.Class{fault.NotFound, fault.Exists, fault.Invalid, fault.Unsupported, fault.PoolUnavailable} {
		s := serve(t, func(context.Context) (Backend, error) { return nil, fault.New(class, "as the test wants it") })
		_, err := s.client.Stat(t.Context(), "x")
		if !errdefs.IsUnavailable(err) || !strings.Contains(err.Error(), "as the test wants it") {
			t.Errorf("%v: %v", class, err)
		}
		s.stop()
		if err := <-s.ended; err != nil {
			t.Error(err)
		}
	}
}

// TestErrorsKeepTheirClassOnTheWay: lists too, of which the service says nothing.
func TestErrorsKeepTheirClassOnTheWay(t *testing.T) {
	s := serve(t, func(ctx context.Context) (Backend, error) {
		return open(ctx, newFakeStore(), t.TempDir(), Options{}, quiet())
	})
	if _, err := s.client.Stat(t.Context(), "x"); !errdefs.IsNotFound(err) || !strings.Contains(err.Error(), `stat snapshot "x"`) {
		t.Error(err)
	}
	nothing := func(context.Context, snapshots.Info) error { return nil }
	if err := s.client.Walk(t.Context(), nothing, "no filter=="); !errdefs.IsInvalidArgument(err) || !strings.Contains(err.Error(), "list snapshots") {
		t.Error(err)
	}
	if err := s.client.(snapshots.Cleaner).Cleanup(t.Context()); err != nil {
		t.Error(err)
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}

// panicky panics in a call.
type panicky struct{ Backend }

func (panicky) Stat(context.Context, string) (snapshots.Info, error) { panic("as the test wants it") }
func (panicky) Close() error                                         { return nil }

func TestAPanicIsOneCallsError(t *testing.T) {
	s := serve(t, func(context.Context) (Backend, error) { return panicky{}, nil })
	for range 2 {
		if _, err := s.client.Stat(t.Context(), "x"); err == nil || !strings.Contains(err.Error(), "as the test wants it") {
			t.Error(err)
		}
	}
	s.stop()
	if err := <-s.ended; err != nil {
		t.Error(err)
	}
}
