package show

import (
	"image/color"
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/overlayzfs/overlayzfs/integration/bench/judge"
	"github.com/overlayzfs/overlayzfs/integration/bench/result"
)

// peerMark is how a peer is drawn.
type peerMark struct {
	name  string
	color color.Color
	shape draw.GlyphDrawer
}

// peers are the contenders in the plot, each with its mark.
var peers = []peerMark{
	{result.ZFS, color.RGBA{0xc0, 0x39, 0x2b, 0xff}, draw.CircleGlyph{}},
	{result.Overlay2, color.RGBA{0x1f, 0x77, 0xb4, 0xff}, draw.BoxGlyph{}},
	{result.VFS, color.RGBA{0x2c, 0xa0, 0x2c, 0xff}, draw.PyramidGlyph{}},
	{result.Overlay2Tmpfs, color.RGBA{0x88, 0x88, 0x88, 0xff}, draw.PlusGlyph{}},
	{result.GNU, color.RGBA{0x55, 0x33, 0x88, 0xff}, draw.CrossGlyph{}},
}

// legendRows is the height of the legend, below the last row.
const legendRows = 5

// WritePlot draws the time of each peer in each row, relative to ours, as an SVG, PNG
// or PDF by the file's name. Ours is faster on the right of the line.
func WritePlot(r *result.Report, file string) error {
	rows := plotRows(r)
	p := plot.New()
	p.Title.Text = "Time of peers, relative to overlayzfs (1 = the same; right of it overlayzfs is faster)"
	p.X.Scale, p.X.Tick.Marker = plot.LogScale{}, powers{}
	p.Title.Padding = vg.Points(8)
	p.Add(plotter.NewGrid())
	var titles []string
	for _, row := range rows {
		titles = append(titles, row.Title)
	}
	p.NominalY(titles...)
	for _, peer := range peers {
		points := plotPoints(r, rows, peer.name)
		if len(points) == 0 {
			continue
		}
		scatter, err := plotter.NewScatter(points)
		if err != nil {
			return err
		}
		scatter.GlyphStyle = draw.GlyphStyle{Color: peer.color, Radius: vg.Points(4), Shape: peer.shape}
		p.Add(scatter)
		p.Legend.Add(peer.name, scatter)
	}
	one, err := plotter.NewLine(plotter.XYs{{X: 1, Y: -0.5}, {X: 1, Y: float64(len(rows)) - 0.5}})
	if err != nil {
		return err
	}
	p.Add(one)
	p.X.Min, p.X.Max = min(p.X.Min, 0.1), max(p.X.Max, 10)
	p.Y.Min = -legendRows
	return p.Save(26*vg.Centimeter, vg.Length(len(rows)+legendRows)*0.55*vg.Centimeter+2*vg.Centimeter, file)
}

// plotRows returns the rows of times that ours and a peer have, the first on top.
func plotRows(r *result.Report) []result.Row {
	var rows []result.Row
	for _, row := range r.Rows {
		anybody := slices.ContainsFunc(r.Measurements, func(m result.Measurement) bool {
			return m.Row == row.ID && m.Contender != result.Ours && len(m.Samples) > 0 &&
				slices.ContainsFunc(peers, func(p peerMark) bool { return p.name == m.Contender })
		})
		if _, ok := r.SpreadOf(row.ID, result.Ours); ok && anybody && row.Unit == result.Milliseconds {
			rows = append(rows, row)
		}
	}
	slices.Reverse(rows)
	return rows
}

func plotPoints(r *result.Report, rows []result.Row, peer string) plotter.XYs {
	var points plotter.XYs
	for y, row := range rows {
		ours, _ := r.SpreadOf(row.ID, result.Ours)
		theirs, ok := r.SpreadOf(row.ID, peer)
		if ratio := judge.Ratio(theirs.Median, ours.Median); ok && ratio > 0 && !math.IsInf(ratio, 0) {
			points = append(points, plotter.XY{X: ratio, Y: float64(y)})
		}
	}
	return points
}

// powers marks the powers of ten.
type powers struct{}

func (powers) Ticks(least, most float64) []plot.Tick {
	var ticks []plot.Tick
	for e := math.Floor(math.Log10(least)); e <= math.Ceil(math.Log10(most)); e++ {
		v := math.Pow(10, e)
		ticks = append(ticks, plot.Tick{Value: v, Label: strconv.FormatFloat(v, 'f', -1, 64) + "×"})
	}
	return ticks
}
