package pluginimage

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/errdef"
	"oras.land/oras-go/v2/registry"
	"oras.land/oras-go/v2/registry/remote"
	"oras.land/oras-go/v2/registry/remote/auth"
	"oras.land/oras-go/v2/registry/remote/credentials"
	"oras.land/oras-go/v2/registry/remote/errcode"
	"oras.land/oras-go/v2/registry/remote/retry"

	"github.com/overlayzfs/overlayzfs/internal/buildinfo"
	"github.com/overlayzfs/overlayzfs/internal/fault"
)

// Source has one image to push.
type Source = oras.ReadOnlyTarget

// OpenLayout opens the tar that WriteLayout has written.
func OpenLayout(ctx context.Context, path string) (Source, error) {
	layout, err := oci.NewFromTar(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("read the OCI image layout in %s: %w", path, err)
	}
	return layout, nil
}

// Source returns the image as what Push takes.
func (i *Image) Source() Source { return source{i} }

// source lets a push read an image.
type source struct{ *Image }

func (s source) Resolve(_ context.Context, tag string) (ocispec.Descriptor, error) {
	if tag != layoutTag {
		return ocispec.Descriptor{}, errdef.ErrNotFound
	}
	return s.Manifest, nil
}

func (s source) Exists(_ context.Context, d ocispec.Descriptor) (bool, error) {
	_, there := s.Blobs[d.Digest]
	return there, nil
}

func (s source) Fetch(_ context.Context, d ocispec.Descriptor) (io.ReadCloser, error) {
	blob, there := s.Blobs[d.Digest]
	if !there {
		return nil, errdef.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(blob)), nil
}

// Pushed says what a registry has got.
type Pushed struct {
	Reference string `json:"reference"`
	Digest    string `json:"digest"`
}

// ParseReference returns a reference with its tag. A registry's name is required: Docker would
// take a name without one for its own registry's.
func ParseReference(text string) (string, error) {
	r, err := registry.ParseReference(text)
	if err != nil || r.Repository == "" || strings.HasSuffix(text, ":") {
		return "", fault.New(fault.Invalid, "%q names no image in a registry: want REGISTRY/NAME or REGISTRY/NAME:TAG, such as docker.io/USER/overlayzfs:VERSION", text)
	}
	if r.ValidateReferenceAsDigest() == nil {
		return "", fault.New(fault.Invalid, "%q names a digest, which follows from the image: name a tag", text)
	}
	if r.Reference == "" {
		r.Reference = layoutTag
	}
	return r.String(), nil
}

// Login says who pushes: a user, or whoever `docker login` has left in a file of Docker's client.
type Login struct {
	Username, Password string
	File               string // config.json
}

// credential returns what a registry is told. Docker keeps passwords in the file, or with a
// program that would have to be started: this one starts none.
func (l Login) credential(host string) (auth.CredentialFunc, error) {
	if l.Username != "" {
		return auth.StaticCredential(host, auth.Credential{Username: l.Username, Password: l.Password}), nil
	}
	file, err := credentials.NewFileStore(l.File)
	if err != nil {
		return nil, fmt.Errorf("read the passwords of `docker login`: %w", err)
	}
	return credentials.Credential(file), nil
}

// Push copies an image to a registry. With plainHTTP the registry is asked without TLS.
func Push(ctx context.Context, from Source, reference string, login Login, plainHTTP bool) (Pushed, error) {
	to, err := remote.NewRepository(reference)
	if err != nil {
		return Pushed{}, err
	}
	credential, err := login.credential(to.Reference.Host())
	if err != nil {
		return Pushed{}, err
	}
	client := &auth.Client{Client: retry.DefaultClient, Cache: auth.NewCache(), Credential: credential}
	client.SetUserAgent("overlayzfs/" + buildinfo.Version())
	to.Client, to.PlainHTTP = client, plainHTTP
	pushed, err := oras.Copy(ctx, from, layoutTag, to, to.Reference.Reference, oras.DefaultCopyOptions)
	var answer *errcode.ErrorResponse
	switch {
	case errors.Is(err, auth.ErrBasicCredentialNotFound),
		errors.As(err, &answer) && (answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden):
		err = fmt.Errorf("%w: pass --username and --password-stdin, or `docker login` first; a password that Docker keeps with a credential helper is not asked for", err)
	case err == nil:
		return Pushed{reference, pushed.Digest.String()}, nil
	}
	return Pushed{}, fmt.Errorf("push to %s: %w", reference, err)
}
