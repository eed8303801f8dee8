package images

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/overlayzfs/overlayzfs/integration/engine"
)

// Builder is one of docker's builders.
type Builder struct{ Name, env string }

// Classic and BuildKit are docker's two builders.
var (
	Classic  = Builder{"classic", "DOCKER_BUILDKIT=0"}
	BuildKit = Builder{"buildkit", "DOCKER_BUILDKIT=1"}
)

// Build builds an image from the context in dir.
func (b Builder) Build(e *engine.Engine, image, dir string, options ...string) error {
	args := append([]string{"build", "--network", "none", "-t", image}, options...)
	cmd := e.Command(append(args, dir)...)
	cmd.Env = append(cmd.Env, b.env, "BUILDKIT_PROGRESS=plain", "BUILDX_NO_DEFAULT_ATTESTATIONS=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("building %s with the %s builder: %w\n%s", image, b.Name, err, out)
	}
	return nil
}

// Import imports the image that write writes.
func Import(e *engine.Engine, name string, write func(io.Writer) error) error {
	cmd := e.Command("import", "-", name)
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		return err
	}
	written := errors.Join(write(in), in.Close())
	if err := errors.Join(cmd.Wait(), written); err != nil {
		return errors.Join(err, errors.New("docker import "+name+": "+out.String()))
	}
	return nil
}
