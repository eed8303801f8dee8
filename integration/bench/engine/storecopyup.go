package engine

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// ctrSpace is containerd's name space of containers that ctr runs.
const ctrSpace = "default"

// storeWorkload is a way to a first change: who mounts the container.
type storeWorkload struct {
	row result.Row
	run func(ctx context.Context, c *storeContender) (took float64, err error)
}

func storeRow(slug, where string) result.Row {
	return result.Row{
		ID: "engine.store.copyup." + slug, Title: "first change of a file of 4 KB, " + where, Unit: result.Milliseconds, Group: storeGroup,
		Note: copyUpNote + "; in a machine of its own, with Docker 28 and containerd 2.1",
	}
}

var storeWorkloads = []storeWorkload{
	{storeRow("container", "in a container"), func(ctx context.Context, c *storeContender) (float64, error) {
		return runFirstChange(ctx, c.api)
	}},
	{storeRow("step", "in a RUN step"), changeInStep},
	{storeRow("ctr", "by ctr run"), changeByCtr},
	{storeRow("cri", "in a pod's container"), changeInPod},
}

// measure runs a workload once.
func (c *storeContender) measure(ctx context.Context, s *testingStub, w storeWorkload) (took float64, err error) {
	if err := syncPool(ctx, c.pool); err != nil {
		return 0, err
	}
	if fatal := s.try(func() { took, err = w.run(ctx, c) }); fatal != nil {
		return 0, fatal
	}
	return took, err
}

// changeInStep builds an image with a RUN step that runs the program. BuildKit prints its
// output.
func changeInStep(_ context.Context, c *storeContender) (took float64, err error) {
	dir, err := os.MkdirTemp("", "step-")
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	dockerfile := fmt.Sprintf("FROM %s\nRUN [%q, %q]\n", manyImage, firstChange, manyDir)
	if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(dockerfile), 0o600); err != nil {
		return 0, err
	}
	cmd := c.engine.Command("build", "--no-cache", "--network", "none", "-t", builtImage, dir)
	cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT=1", "BUILDKIT_PROGRESS=plain")
	out, err := cmd.CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("docker build: %w\n%s", err, out)
	}
	return findFirstChange(string(out))
}

// changeByCtr has ctr mount and run a container.
func changeByCtr(_ context.Context, c *storeContender) (float64, error) {
	out, err := c.containerd.Try(ctrSpace, "run", "--rm", "--snapshotter", c.snapshotter, storeImage, "changer", firstChange, manyDir)
	if err != nil {
		return 0, err
	}
	return findFirstChange(out)
}
