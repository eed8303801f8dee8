package plugin

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// everyCall calls everything that reaches the driver and returns the errors by
// operation.
func everyCall(ctx context.Context, c *client) map[string]error {
	errs := make(map[string]error)
	errs["create"] = c.Create(ctx, "a", "", CreateOptions{})
	errs["create read-write"] = c.Create(ctx, "a", "", CreateOptions{ReadWrite: true})
	_, errs["get"] = c.Get(ctx, "a", "")
	errs["put"] = c.Put(ctx, "a")
	errs["remove"] = c.Remove(ctx, "a")
	_, errs["exists"] = c.Exists(ctx, "a")
	_, errs["metadata"] = c.Metadata(ctx, "a")
	_, errs["status"] = c.Status(ctx)
	errs["cleanup"] = c.Cleanup(ctx)
	_, errs["changes"] = c.Changes(ctx, "a", "")
	_, errs["diff"] = c.Diff(ctx, "a", "")
	_, errs["diff size"] = c.DiffSize(ctx, "a", "")
	_, errs["apply diff"] = c.ApplyDiff(ctx, "a", "", strings.NewReader("tar"))
	return errs
}

func TestErrorsNameOperationAndLayerAndRemedy(t *testing.T) {
	d := newFake()
	d.err = fault.New(fault.Busy, "boom")
	r := started(t, d)
	for op, err := range everyCall(t.Context(), r.client) {
		context := op + " layer a"
		if op == "status" || op == "cleanup" {
			context = op
		}
		wantText(t, err, context+": boom; ", fault.Advice(d.err))
		var refusal *callError
		wantStatus := map[bool]int{true: http.StatusInternalServerError, false: http.StatusOK}[op == "diff"]
		if errors.As(err, &refusal) && refusal.Status != wantStatus {
			t.Errorf("%s came with status %d, want %d", op, refusal.Status, wantStatus)
		}
	}
	if log := r.log.String(); !strings.Contains(log, "level=error") || !strings.Contains(log, "op=get") || !strings.Contains(log, "layer=a") {
		t.Errorf("the log lacks what failed:\n%s", log)
	}
}

func TestPanicIsAnErrorAndTheServerLives(t *testing.T) {
	d := newFake()
	d.hook = func(_ context.Context, call string) { panic("the driver lost its way") }
	r := started(t, d)
	for op, err := range everyCall(t.Context(), r.client) {
		wantText(t, err, op, "GraphDriver.", "panicked: the driver lost its way", "log has the stack")
	}
	if log := r.log.String(); !strings.Contains(log, "errors_test.go") {
		t.Errorf("the log lacks the stack:\n%.2000s", log)
	}
	d.hook = nil
	if err := r.Put(t.Context(), "a"); err != nil {
		t.Errorf("after the panics: %v", err)
	}
}

func TestConcurrentCalls(t *testing.T) {
	r := started(t, newFake())
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			for op, err := range everyCall(t.Context(), r.client) {
				if err != nil {
					t.Errorf("%s: %v", op, err)
				}
			}
		})
		wg.Go(func() {
			if err := r.Init(t.Context(), InitParams{Home: "/home"}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestHangingUpCancelsTheCall(t *testing.T) {
	d := newFake()
	began, ended := make(chan struct{}), make(chan struct{})
	d.hook = func(ctx context.Context, _ string) { close(began); <-ctx.Done(); close(ended) }
	r := started(t, d)
	ctx, hangUp := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- r.Remove(ctx, "a") }()
	await(t, began, "the call")
	hangUp()
	await(t, ended, "the driver's context to end")
	if err := await(t, result, "the client"); !errors.Is(err, context.Canceled) {
		t.Errorf("the client got %v", err)
	}
}
