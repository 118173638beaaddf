// What a binary unit, its batch norm, its shortcuts, its width masks and its weights need element by element, each in one
// or two passes over memory. The formulas are those of unit_passes.py, and of the callers of native.py, which compute the
// same with torch.
//
// A feature map is channels-last: [pixels of all images][channels], in float32 or, compiled with BFLOAT16, in bfloat16.
// Vectors over channels are float32, and so is all arithmetic: what belongs to a map is rounded where it is written. A
// loop runs over the channels of several pixels at once, and of all edges that read a map, so that it is long enough for
// vectors; what belongs to a channel is repeated as often.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <vector>

namespace {

constexpr long kWidth = 192;  // floats of one loop, where pixels follow each other without a gap
constexpr long kVector = 16;  // floats of which a loop, if it can, has a whole number
constexpr long kBlock = 2048;  // floats that stay in the nearest cache
constexpr int kRows = 32;     // loops between two additions to the sums in double precision

// The upper half of a float32.
struct Half {
  std::uint16_t bits;
};

inline float read(float x) { return x; }
inline float read(Half x) { return __builtin_bit_cast(float, static_cast<std::uint32_t>(x.bits) << 16); }
inline void write(float& to, float x) { to = x; }
inline void write(Half& to, float x) {  // to the nearest, to even between two; what is not a number stays so
  const std::uint32_t bits = __builtin_bit_cast(std::uint32_t, x);
  const std::uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  to.bits = static_cast<std::uint16_t>(x != x ? 0x7fc0u : rounded);
}

#ifdef BFLOAT16
using Value = Half;
#else
using Value = float;
#endif

struct Map {
  long pixels, channels;
  bool dense;  // whether pixels follow each other in every operand

  long together() const {
    if (!dense) return 1;
    const long most = std::max(1L, kWidth / channels), whole = kVector / std::gcd(channels, kVector);
    return most < whole ? most : most - most % whole;
  }
  long width() const { return together() * channels; }

  // f(first pixel, floats) over the whole map.
  template <class F>
  void each(F f) const {
    const long some = together();
    long pixel = 0;
    for (; pixel + some <= pixels; pixel += some) f(pixel, some * channels);
    for (; pixel < pixels; ++pixel) f(pixel, channels);
  }
};

// A vector over channels, repeated for the pixels of one loop; `otherwise` where there is none.
std::vector<float> repeated(const float* vector, const Map& map, float otherwise) {
  std::vector<float> all(map.width());
  for (long i = 0; i < map.width(); ++i) all[i] = vector ? vector[i % map.channels] : otherwise;
  return all;
}

// Sums per channel: float over some loops, double over all of them.
class Sums {
 public:
  explicit Sums(const Map& map) : channels_(map.channels), part_(map.width(), 0.0f), total_(map.channels, 0.0) {}

  float* part() { return part_.data(); }
  void next() {
    if (++rows_ == kRows) flush();
  }
  const std::vector<double>& total() {
    flush();
    return total_;
  }
  void write(float* to) {
    flush();
    std::copy(total_.begin(), total_.end(), to);
  }
  double all() {
    flush();
    double sum = 0.0;
    for (double value : total_) sum += value;
    return sum;
  }

 private:
  void flush() {
    for (size_t pixel = 0; pixel < part_.size(); pixel += channels_)
      for (long c = 0; c < channels_; ++c) total_[c] += part_[pixel + c];
    std::fill(part_.begin(), part_.end(), 0.0f);
    rows_ = 0;
  }

  long channels_;
  int rows_ = 0;
  std::vector<float> part_;
  std::vector<double> total_;
};

// Of so many pixels the channels of one edge, as they are read by all edges: [pixels][edges][channels].
class Rows {
 public:
  Rows(const Value* x, long channels, long edges, const Map& map)
      : x_(x), channels_(channels), edges_(edges), wide_(edges == 1 ? 0 : map.width()) {}

  const Value* at(long pixel, long values) {
    const Value* from = x_ + pixel * channels_;
    if (edges_ == 1) return from;
    for (Value* to = wide_.data(); to < wide_.data() + values; from += channels_)
      for (long g = 0; g < edges_; ++g, to += channels_) copy(from, to, channels_);
    return wide_.data();
  }

  static void copy(const Value* from, Value* __restrict to, long n) {
    long i = 0;
    for (; i + 8 <= n; i += 8) std::memcpy(to + i, from + i, 8 * sizeof(Value));
    for (; i < n; ++i) to[i] = from[i];
  }

 private:
  const Value* x_;
  long channels_, edges_;
  std::vector<Value> wide_;
};

// to[i] += factor * from[i].
template <class From, class To>
inline void add(const From* from, float factor, To* __restrict to, long n) {
  for (long i = 0; i < n; ++i) write(to[i], read(to[i]) + factor * read(from[i]));
}

// The sum of f(i) over i < n, of 16 sums in turn so that they are vectors.
template <class F>
inline double total(long n, F f) {
  float parts[16] = {};
  long i = 0;
  for (; i + 16 <= n; i += 16)
    for (int j = 0; j < 16; ++j) parts[j] += f(i + j);
  for (int j = 0; i < n; ++i, ++j) parts[j] += f(i);
  return std::accumulate(parts, parts + 16, 0.0);
}

inline float rectified(float x) { return x > 0.0f ? x : (x != x ? x : 0.0f); }
inline float sign(float x) { return x < 0.0f ? -1.0f : 1.0f; }  // +1 at both zeros and where x is not a number

// What an entry of a weight counts in the mean of |weight|: its column's share times its row's, which sum to 1 over the
// entries of which there is one mean.
struct Counts {
  std::vector<float> columns;  // [inputs][area]
  std::vector<double> rows;

  Counts(const float* column, const float* row, bool per_channel, long outputs, long inputs, long area)
      : columns(inputs * area, 1.0f), rows(outputs, 1.0) {
    for (long i = 0; column && i < inputs * area; ++i) columns[i] = column[i / area];
    for (long o = 0; row && o < outputs; ++o) rows[o] = row[o];
    const double across = std::accumulate(columns.begin(), columns.end(), 0.0);
    const double all = across * std::accumulate(rows.begin(), rows.end(), 0.0);
    constexpr double tiny = 1e-38;  // of what is masked out entirely
    for (double& share : rows) share /= std::max(per_channel ? across * share : all, tiny);
  }
};

}  // namespace

extern "C" {

// signs[p][g][c] = sign(normed[p][c] * gain[g][c] + bias[g][c]); gain and bias may be null.
void signs(const Value* normed, const float* gain, const float* bias, Value* out, long pixels, long channels,
           long edges) {
  const Map map{pixels, edges * channels, true};
  const auto a = repeated(gain, map, 1.0f), b = repeated(bias, map, 0.0f);
  Rows rows(normed, channels, edges, map);
  map.each([&](long pixel, long n) {
    const Value* x = rows.at(pixel, n);
    const float *ga = a.data(), *bi = b.data();
    Value* __restrict s = out + pixel * map.channels;
    for (long i = 0; i < n; ++i) write(s[i], sign(read(x[i]) * ga[i] + bi[i]));
  });
}

// y = max(0, y + affine(normed)), in place, the second term where `shortcut`; totals[g] += scale[g] * y, where given.
void output(Value* y, const Value* normed, const float* gain, const float* bias, long shortcut, Value* const* totals,
            const float* scale, long pixels, long channels, long edges) {
  const Map map{pixels, edges * channels, true};
  const auto a = repeated(gain, map, 1.0f), b = repeated(bias, map, 0.0f);
  Rows rows(normed, channels, edges, map);
  map.each([&](long pixel, long n) {
    const float *ga = a.data(), *bi = b.data();
    Value* __restrict out = y + pixel * map.channels;
    if (shortcut) {
      const Value* x = rows.at(pixel, n);
      for (long i = 0; i < n; ++i) write(out[i], rectified(read(out[i]) + (read(x[i]) * ga[i] + bi[i])));
    } else {
      for (long i = 0; i < n; ++i) write(out[i], rectified(read(out[i])));
    }
    if (!totals) return;
    const long run = edges == 1 ? n : channels;
    for (long i = 0, p = pixel; i < n; ++p)
      for (long g = 0; g < edges; ++g, i += run) add(out + i, scale ? scale[g] : 1.0f, totals[g] + p * channels, run);
  });
}

// dy[p][g][c] = grad[g][p][c] where y > 0, of all edges or of the `count` edges `kept`; d_scale[g] = sum of grad * y, where
// asked for. `step` is from one pixel of grad[g] to its next.
void output_backward(const Value* const* grads, const long* step, const Value* y, Value* dy, float* d_scale,
                     long pixels, long channels, long edges, const long* kept, long count) {
  const bool alone = edges == 1;
  const Map map{pixels, edges * channels, !alone || step[0] == channels};
  Sums sums(map);
  std::vector<Value> wide(alone ? 0 : map.width()), all(kept ? map.width() : 0);
  map.each([&](long pixel, long n) {
    const Value *grad = alone ? grads[0] + pixel * step[0] : wide.data(), *out = y + pixel * map.channels;
    if (!alone)
      for (long i = 0, p = pixel; i < n; ++p)
        for (long g = 0; g < edges; ++g, i += channels) Rows::copy(grads[g] + p * step[g], wide.data() + i, channels);
    Value* __restrict d = kept ? all.data() : dy + pixel * map.channels;
    float* __restrict sum = sums.part();
    if (d_scale) {
      for (long i = 0; i < n; ++i) {
        const float passed = read(grad[i]), value = read(out[i]);
        write(d[i], value > 0.0f ? passed : 0.0f);
        sum[i] += passed * value;
      }
      sums.next();
    } else {
      for (long i = 0; i < n; ++i) write(d[i], read(out[i]) > 0.0f ? read(grad[i]) : 0.0f);
    }
    if (!kept) return;
    for (long p = 0; p * map.channels < n; ++p)
      for (long k = 0; k < count; ++k)
        Rows::copy(d + (p * edges + kept[k]) * channels, dy + ((pixel + p) * count + k) * channels, channels);
  });
  if (!d_scale) return;
  const double* total = sums.total().data();
  for (long g = 0; g < edges; ++g)
    d_scale[g] = static_cast<float>(std::accumulate(total + g * channels, total + (g + 1) * channels, 0.0));
}

// From dx, the gradient of the signs, and dy: d_normed, added to what is there; d_gain and d_bias [g][c] and
// through[c] = sum of dx * sign over pixels and edges, each where asked for.
void signs_backward(const Value* dx, const Value* dy, const Value* normed, const float* gain, const float* bias,
                    const float* scale, float bound, long shortcut, Value* d_normed, long first, float* d_gain,
                    float* d_bias, float* through, long pixels, long channels, long edges) {
  const Map map{pixels, edges * channels, true};
  const auto a = repeated(gain, map, 1.0f), b = repeated(bias, map, 0.0f);
  std::vector<float> factors(map.channels, shortcut ? 1.0f : 0.0f);
  for (long i = 0; shortcut && scale && i < map.channels; ++i) factors[i] = scale[i / channels];
  const auto f = repeated(factors.data(), map, 0.0f);
  Rows rows(normed, channels, edges, map);
  Sums masked(map), gains(map), biases(map);
  std::vector<float> inner(map.width()), joined(map.width() / edges);
  map.each([&](long pixel, long n) {
    const long at = pixel * map.channels;
    const Value *x = rows.at(pixel, n), *d = dx + at, *carried = shortcut ? dy + at : d;
    const float *ga = a.data(), *bi = b.data(), *fa = f.data();
    float* __restrict own = inner.data();
    if (through) {
      float* __restrict sum = masked.part();
      for (long i = 0; i < n; ++i) sum[i] += read(d[i]) * sign(read(x[i]) * ga[i] + bi[i]);
      masked.next();
    }
    for (long i = 0; i < n; ++i) {
      const float inside = std::fabs(read(x[i]) * ga[i] + bi[i]) <= bound ? read(d[i]) : 0.0f;
      own[i] = inside + fa[i] * read(carried[i]);
    }
    if (d_gain) {
      float *__restrict sg = gains.part(), *__restrict sb = biases.part();
      for (long i = 0; i < n; ++i) {
        sg[i] += own[i] * read(x[i]);
        sb[i] += own[i];
      }
      gains.next();
      biases.next();
    }
    Value* into = d_normed + pixel * channels;
    for (long i = 0; i < n; ++i) own[i] *= ga[i];
    const float* whole = own;
    if (edges > 1) {
      float* sum = joined.data();
      std::fill(sum, sum + n / edges, 0.0f);
      for (long i = 0; i < n; sum += channels)
        for (long g = 0; g < edges; ++g, i += channels) add(own + i, 1.0f, sum, channels);
      whole = joined.data();
    }
    if (first)
      for (long i = 0; i < n / edges; ++i) write(into[i], whole[i]);
    else
      add(whole, 1.0f, into, n / edges);
  });
  if (d_gain) {
    gains.write(d_gain);
    biases.write(d_bias);
  }
  if (through) {
    const double* total = masked.total().data();
    for (long c = 0; c < channels; ++c) {
      double sum = 0.0;
      for (long g = 0; g < edges; ++g) sum += total[g * channels + c];
      through[c] = static_cast<float>(sum);
    }
  }
}

// Batch norm without affine part: out = (x - mean) * inverse, inverse = 1 / sqrt(variance + epsilon). The running
// statistics, where given, move to the batch's by `momentum`, with the unbiased variance.
void norm(const Value* x, Value* out, float* inverse, float* running_mean, float* running_variance, float momentum,
          float epsilon, long pixels, long channels) {
  const Map map{pixels, channels, true};
  std::vector<float> mean(channels);
  // Relative to the first pixel, so that a mean that is large beside the deviation costs no digits.
  std::vector<float> beginning(channels);
  for (long c = 0; c < channels; ++c) beginning[c] = read(x[c]);
  const auto origin = repeated(beginning.data(), map, 0.0f);
  Sums first(map), second(map);
  map.each([&](long pixel, long n) {
    const Value* from = x + pixel * channels;
    const float* o = origin.data();
    float *__restrict s = first.part(), *__restrict q = second.part();
    for (long i = 0; i < n; ++i) {
      const float d = read(from[i]) - o[i];
      s[i] += d;
      q[i] += d * d;
    }
    first.next();
    second.next();
  });
  for (long c = 0; c < channels; ++c) {
    const double shift = first.total()[c] / pixels;
    const double spread = std::max(0.0, second.total()[c] / pixels - shift * shift);
    mean[c] = static_cast<float>(origin[c] + shift);
    if (running_mean) {
      running_mean[c] += momentum * (mean[c] - running_mean[c]);
      running_variance[c] += momentum * (static_cast<float>(spread * pixels / (pixels - 1)) - running_variance[c]);
    }
    inverse[c] = static_cast<float>(1.0 / std::sqrt(spread + epsilon));
  }
  const auto m = repeated(mean.data(), map, 0.0f), v = repeated(inverse, map, 1.0f);
  map.each([&](long pixel, long n) {
    const Value* from = x + pixel * channels;
    const float *mp = m.data(), *vp = v.data();
    Value* __restrict to = out + pixel * channels;
    for (long i = 0; i < n; ++i) write(to[i], (read(from[i]) - mp[i]) * vp[i]);
  });
}

// dx = inverse * (grad - mean(grad) - out * mean(grad * out)), from what `norm` wrote.
void norm_backward(const Value* grad, const Value* out, const float* inverse, Value* dx, long pixels, long channels) {
  const Map map{pixels, channels, true};
  Sums first(map), second(map);
  map.each([&](long pixel, long n) {
    const Value *g = grad + pixel * channels, *o = out + pixel * channels;
    float *__restrict s = first.part(), *__restrict q = second.part();
    for (long i = 0; i < n; ++i) {
      s[i] += read(g[i]);
      q[i] += read(g[i]) * read(o[i]);
    }
    first.next();
    second.next();
  });
  std::vector<float> plain(channels), along(channels);
  for (long c = 0; c < channels; ++c) {
    plain[c] = static_cast<float>(first.total()[c] / pixels);
    along[c] = static_cast<float>(second.total()[c] / pixels);
  }
  const auto v = repeated(inverse, map, 1.0f), p = repeated(plain.data(), map, 0.0f);
  const auto a = repeated(along.data(), map, 0.0f);
  map.each([&](long pixel, long n) {
    const Value *g = grad + pixel * channels, *o = out + pixel * channels;
    const float *vp = v.data(), *pp = p.data(), *ap = a.data();
    Value* __restrict to = dx + pixel * channels;
    for (long i = 0; i < n; ++i) write(to[i], vp[i] * (read(g[i]) - pp[i] - read(o[i]) * ap[i]));
  });
}

// totals[e] += scale[e] * x; without scale, each is 1.
void add_scaled(const Value* x, Value* const* totals, const float* scale, long edges, long size) {
  for (long from = 0; from < size; from += kBlock) {
    const long n = std::min(kBlock, size - from);
    for (long e = 0; e < edges; ++e) {
      const Value* source = x + from;
      const float factor = scale ? scale[e] : 1.0f;
      Value* __restrict total = totals[e] + from;
      for (long i = 0; i < n; ++i) write(total[i], read(total[i]) + factor * read(source[i]));
    }
  }
}

// dx = sum over e of scale[e] * grad[e]; d_scale[e] = sum of grad[e] * x; each where asked for.
void add_scaled_backward(const Value* const* grads, const long* step, const Value* x, const float* scale, Value* dx,
                         float* d_scale, long pixels, long channels, long edges) {
  bool dense = true;
  for (long e = 0; e < edges; ++e) dense = dense && step[e] == channels;
  const Map map{pixels, channels, dense};
  std::vector<Sums> sums(edges, Sums(map));
  std::vector<float> joined(map.width());
  map.each([&](long pixel, long n) {
    const Value* from = x + pixel * channels;
    float* __restrict total = joined.data();
    for (long e = 0; e < edges; ++e) {
      const Value* g = grads[e] + pixel * step[e];
      const float factor = scale ? scale[e] : 1.0f;
      if (e == 0) std::fill(total, total + n, 0.0f);
      if (dx)
        for (long i = 0; i < n; ++i) total[i] += factor * read(g[i]);
      if (!d_scale) continue;
      float* __restrict sum = sums[e].part();
      for (long i = 0; i < n; ++i) sum[i] += read(g[i]) * read(from[i]);
      sums[e].next();
    }
    if (!dx) return;
    Value* __restrict to = dx + pixel * channels;
    for (long i = 0; i < n; ++i) write(to[i], total[i]);
  });
  for (long e = 0; d_scale && e < edges; ++e) d_scale[e] = static_cast<float>(sums[e].all());
}

// out = x * mask, a factor per channel.
void masked(const Value* x, const float* mask, Value* out, long pixels, long channels) {
  const Map map{pixels, channels, true};
  const auto m = repeated(mask, map, 1.0f);
  map.each([&](long pixel, long n) {
    const Value* from = x + pixel * channels;
    const float* factor = m.data();
    Value* __restrict to = out + pixel * channels;
    for (long i = 0; i < n; ++i) write(to[i], read(from[i]) * factor[i]);
  });
}

// dx = grad * mask; d_mask = sum of grad * x, where asked for.
void masked_backward(const Value* grad, long step, const Value* x, const float* mask, Value* dx, float* d_mask,
                     long pixels, long channels) {
  const Map map{pixels, channels, step == channels};
  const auto m = repeated(mask, map, 1.0f);
  Sums sums(map);
  map.each([&](long pixel, long n) {
    const Value *g = grad + pixel * step, *from = x + pixel * channels;
    const float* factor = m.data();
    Value* __restrict to = dx + pixel * channels;
    float* __restrict sum = sums.part();
    for (long i = 0; i < n; ++i) {
      write(to[i], read(g[i]) * factor[i]);
      sum[i] += read(g[i]) * read(from[i]);
    }
    sums.next();
  });
  if (d_mask) sums.write(d_mask);
}

// The maps of all nodes side by side, plus `carried` where there is one.
void joined(const Value* const* maps, const Value* carried, Value* out, long pixels, long channels, long count) {
  const Map map{pixels, count * channels, true};
  map.each([&](long pixel, long n) {
    Value* __restrict to = out + pixel * map.channels;
    for (long i = 0, p = pixel; i < n; ++p)
      for (long j = 0; j < count; ++j, i += channels) Rows::copy(maps[j] + p * channels, to + i, channels);
    if (carried) add(carried + pixel * map.channels, 1.0f, to, n);
  });
}

// The gradient of each map from that of all of them.
void joined_backward(const Value* grad, Value* const* into, long pixels, long channels, long count) {
  for (long pixel = 0; pixel < pixels; ++pixel)
    for (long j = 0; j < count; ++j)
      Rows::copy(grad + (pixel * count + j) * channels, into[j] + pixel * channels, channels);
}

// The channels of two maps in turn: a0 b0 a1 b1 ...
void interleave(const Value* first, const Value* second, Value* __restrict out, long size) {
  for (long i = 0; i < size; ++i) {
    out[2 * i] = first[i];
    out[2 * i + 1] = second[i];
  }
}

// And back.
void halves(const Value* from, Value* __restrict first, Value* __restrict second, long size) {
  for (long i = 0; i < size; ++i) {
    first[i] = from[2 * i];
    second[i] = from[2 * i + 1];
  }
}

// out = the mean of 2x2 pixels, each channel twice; height and width are those of the output.
void pooled_twice(const Value* x, Value* out, long images, long height, long width, long channels) {
  const long row = 2 * width * channels;
  for (long line = 0; line < images * height; ++line)
    for (long w = 0; w < width; ++w) {
      const Value *above = x + 2 * (line * row + w * channels), *below = above + row;
      Value* __restrict to = out + 2 * (line * width + w) * channels;
      for (long c = 0; c < channels; ++c) {
        const float sum = (read(above[c]) + read(above[c + channels])) + (read(below[c]) + read(below[c + channels]));
        write(to[2 * c], 0.25f * sum);
        write(to[2 * c + 1], 0.25f * sum);
      }
    }
}

// The gradient of `pooled_twice`'s input from that of its output.
void pooled_twice_backward(const Value* grad, Value* dx, long images, long height, long width, long channels) {
  const long row = 2 * width * channels;
  for (long line = 0; line < images * height; ++line)
    for (long w = 0; w < width; ++w) {
      const Value* from = grad + 2 * (line * width + w) * channels;
      Value* __restrict to = dx + 2 * (line * row + w * channels);
      for (long c = 0; c < channels; ++c) {
        const float quarter = 0.25f * (read(from[2 * c]) + read(from[2 * c + 1]));
        write(to[c], quarter);
        write(to[c + channels], quarter);
        write(to[c + row], quarter);
        write(to[c + row + channels], quarter);
      }
    }
}

// Of each weight [outputs][inputs][area] the mean beta of |weight|, over all of it or over each output channel, and
// out = beta * sign(weight) * columns. In the mean an entry counts as its row and its column say, each null for all alike;
// without `scaled` beta is 1.
void quantise(const float* weight, const float* columns, const float* rows, long scaled, long per_channel, Value* out,
              float* beta, long weights, long outputs, long inputs, long area) {
  const Counts counts(columns, rows, per_channel, outputs, inputs, area);
  const long row = inputs * area;
  for (long e = 0; e < weights; ++e) {
    const float* own = weight + e * outputs * row;
    double whole = 0.0;
    for (long o = 0; scaled && o < outputs; ++o) {
      const float* w = own + o * row;
      const double part = total(row, [&](long i) { return std::fabs(w[i]) * counts.columns[i]; }) * counts.rows[o];
      whole += part;
      if (per_channel) beta[e * outputs + o] = static_cast<float>(part);
    }
    if (!per_channel) beta[e] = scaled ? static_cast<float>(whole) : 1.0f;
    for (long o = 0; o < outputs; ++o) {
      const float *w = own + o * row, scale = beta[per_channel ? e * outputs + o : e];
      Value* __restrict to = out + (e * outputs + o) * row;
      for (long i = 0; i < row; ++i) write(to[i], sign(w[i]) * counts.columns[i] * scale);
    }
  }
}

// The weight's gradient: through the sign, where |weight| <= bound, times beta, and (`through_beta`) through beta.
void quantise_backward(const Value* grad, const float* weight, const float* columns, const float* rows,
                       const float* beta, float bound, long through_beta, long per_channel, float* d_weight,
                       long weights, long outputs, long inputs, long area) {
  const Counts counts(columns, rows, per_channel, outputs, inputs, area);
  const long row = inputs * area;
  std::vector<float> d_beta(outputs);
  for (long e = 0; e < weights; ++e) {
    const Value* g = grad + e * outputs * row;
    const float* w = weight + e * outputs * row;
    double whole = 0.0;
    for (long o = 0; through_beta && o < outputs; ++o) {
      const double part = total(row, [&](long i) {
        return read(g[o * row + i]) * sign(w[o * row + i]) * counts.columns[i];
      });
      whole += part;
      d_beta[o] = static_cast<float>(part);
    }
    if (!per_channel) std::fill(d_beta.begin(), d_beta.end(), static_cast<float>(whole));
    for (long o = 0; o < outputs; ++o, g += row, w += row) {
      float* __restrict to = d_weight + (e * outputs + o) * row;
      const float scale = !through_beta ? 1.0f : beta[per_channel ? e * outputs + o : e];
      const float through = through_beta ? static_cast<float>(d_beta[o] * counts.rows[o]) : 0.0f;
      for (long i = 0; i < row; ++i) {
        const float inside = std::fabs(w[i]) <= bound ? read(g[i]) * scale : 0.0f;
        const float side = w[i] > 0.0f ? 1.0f : (w[i] < 0.0f ? -1.0f : 0.0f);
        to[i] = (inside + side * through) * counts.columns[i];
      }
    }
  }
}

}  // extern "C"
