package snapshotter

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/containerd/errdefs"
	"golang.org/x/sys/unix"

	"github.com/overlayzfs/overlayzfs/internal/fault"
)

func TestTranslate(t *testing.T) {
	for name, tt := range map[string]struct {
		err  error
		want error
	}{
		"ours":                   {fault.New(fault.NotFound, "x"), errdefs.ErrNotFound},
		"ours, wrapped":          {fault.AddContext(fault.Op{Name: "x"}, fault.New(fault.LimitReached, "x")), errdefs.ErrResourceExhausted},
		"the kernel's":           {fmt.Errorf("x: %w", unix.ENOSPC), errdefs.ErrResourceExhausted},
		"containerd's":           {fmt.Errorf("x: %w", errdefs.ErrAlreadyExists), errdefs.ErrAlreadyExists},
		"containerd's beside":    {errors.Join(errdefs.ErrFailedPrecondition, errors.New("x")), errdefs.ErrFailedPrecondition},
		"a caller that left":     {fmt.Errorf("x: %w", context.Canceled), context.Canceled},
		"news from somewhere":    {errors.New("x"), errdefs.ErrInternal},
		"a suspended pool":       {fault.New(fault.PoolUnavailable, "x"), errdefs.ErrUnavailable},
		"a limit that cannot be": {fault.New(fault.Unsupported, "x"), errdefs.ErrFailedPrecondition},
	} {
		got := translate("do", "k", tt.err)
		if !errors.Is(got, tt.want) || !errors.Is(got, tt.err) || !strings.Contains(got.Error(), `do "k": `) {
			t.Errorf("%s: %v", name, got)
		}
	}
	if translate("do", "", nil) != nil {
		t.Error("nil became an error")
	}
}

// TestEveryClassIsTranslated: what can be done about a failure is not lost on
// the way to containerd.
func TestEveryClassIsTranslated(t *testing.T) {
	for class := range classes {
		if err := translate("do", "", fault.New(class, "x")); errdefs.IsInternal(err) {
			t.Errorf("%v: %v", class, err)
		}
	}
	if len(classes) != 12 {
		t.Errorf("%d classes; package fault has others", len(classes))
	}
}
