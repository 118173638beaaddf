// What a binary unit, its batch norm, its shortcuts and its width masks do element by element, each in one or two
// passes over memory. The formulas are those of unit_passes.py, and of the callers of native.py, which compute the same with torch.
//
// A feature map is channels-last and float32: [pixels of all images][channels]. A loop runs over the channels of
// several pixels at once, and of all edges that read a map, so that it is long enough for vectors; what belongs to a
// channel is repeated as often.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <vector>

namespace {

constexpr long kWidth = 128;  // floats of one loop, where pixels follow each other without a gap
constexpr long kBlock = 2048;  // floats that stay in the nearest cache
constexpr int kRows = 32;     // loops between two additions to the sums in double precision

struct Map {
  long pixels, channels;
  bool dense;  // whether pixels follow each other in every operand

  long together() const { return dense ? std::max(1L, kWidth / channels) : 1; }
  long width() const { return together() * channels; }

  // f(first pixel, floats) over the whole map.
  template <class F>
  void each(F f) const {
    long pixel = 0;
    for (; pixel + together() <= pixels; pixel += together()) f(pixel, width());
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
  Rows(const float* x, long channels, long edges, const Map& map)
      : x_(x), channels_(channels), edges_(edges), wide_(edges == 1 ? 0 : map.width()) {}

  const float* at(long pixel, long floats) {
    const float* from = x_ + pixel * channels_;
    if (edges_ == 1) return from;
    for (float* to = wide_.data(); to < wide_.data() + floats; from += channels_)
      for (long g = 0; g < edges_; ++g, to += channels_) copy(from, to, channels_);
    return wide_.data();
  }

  static void copy(const float* from, float* __restrict to, long n) {
    long i = 0;
    for (; i + 8 <= n; i += 8) std::memcpy(to + i, from + i, 8 * sizeof(float));
    for (; i < n; ++i) to[i] = from[i];
  }

 private:
  const float* x_;
  long channels_, edges_;
  std::vector<float> wide_;
};

// to[i] += factor * from[i], by eights where there are so many.
inline void add(const float* from, float factor, float* __restrict to, long n) {
  long i = 0;
  for (; i + 8 <= n; i += 8)
    for (int j = 0; j < 8; ++j) to[i + j] += factor * from[i + j];
  for (; i < n; ++i) to[i] += factor * from[i];
}

inline float sign(float x) { return x < 0.0f ? -1.0f : 1.0f; }  // +1 at both zeros and where x is not a number

}  // namespace

extern "C" {

// signs[p][g][c] = sign(normed[p][c] * gain[g][c] + bias[g][c]); gain and bias may be null.
void signs(const float* normed, const float* gain, const float* bias, float* out, long pixels, long channels,
           long edges) {
  const Map map{pixels, edges * channels, true};
  const auto a = repeated(gain, map, 1.0f), b = repeated(bias, map, 0.0f);
  Rows rows(normed, channels, edges, map);
  map.each([&](long pixel, long n) {
    const float *x = rows.at(pixel, n), *ga = a.data(), *bi = b.data();
    float* __restrict s = out + pixel * map.channels;
    for (long i = 0; i < n; ++i) s[i] = sign(x[i] * ga[i] + bi[i]);
  });
}

// y = max(0, y + affine(normed)), in place, the second term where `shortcut`; totals[g] += scale[g] * y, where given.
void output(float* y, const float* normed, const float* gain, const float* bias, long shortcut, float* const* totals,
            const float* scale, long pixels, long channels, long edges) {
  const Map map{pixels, edges * channels, true};
  const auto a = repeated(gain, map, 1.0f), b = repeated(bias, map, 0.0f);
  Rows rows(normed, channels, edges, map);
  map.each([&](long pixel, long n) {
    const float *ga = a.data(), *bi = b.data();
    float* __restrict out = y + pixel * map.channels;
    if (shortcut) {
      const float* x = rows.at(pixel, n);
      for (long i = 0; i < n; ++i) out[i] = out[i] + (x[i] * ga[i] + bi[i]);
    }
    for (long i = 0; i < n; ++i) out[i] = out[i] > 0.0f ? out[i] : (out[i] != out[i] ? out[i] : 0.0f);
    if (!totals) return;
    const long run = edges == 1 ? n : channels;
    for (long i = 0, p = pixel; i < n; ++p)
      for (long g = 0; g < edges; ++g, i += run) add(out + i, scale ? scale[g] : 1.0f, totals[g] + p * channels, run);
  });
}

// dy[p][g][c] = grad[g][p][c] where y > 0; d_scale[g] = sum of grad * y, where asked for. `step` is from one pixel of
// grad[g] to its next.
void output_backward(const float* const* grads, const long* step, const float* y, float* dy, float* d_scale,
                     long pixels, long channels, long edges) {
  const bool alone = edges == 1;
  const Map map{pixels, edges * channels, !alone || step[0] == channels};
  Sums sums(map);
  std::vector<float> wide(alone ? 0 : map.width());
  map.each([&](long pixel, long n) {
    const float *grad = alone ? grads[0] + pixel * step[0] : wide.data(), *out = y + pixel * map.channels;
    if (!alone)
      for (long i = 0, p = pixel; i < n; ++p)
        for (long g = 0; g < edges; ++g, i += channels) Rows::copy(grads[g] + p * step[g], wide.data() + i, channels);
    float *__restrict d = dy + pixel * map.channels, *__restrict sum = sums.part();
    if (d_scale) {
      for (long i = 0; i < n; ++i) {
        d[i] = out[i] > 0.0f ? grad[i] : 0.0f;
        sum[i] += grad[i] * out[i];
      }
      sums.next();
    } else {
      for (long i = 0; i < n; ++i) d[i] = out[i] > 0.0f ? grad[i] : 0.0f;
    }
  });
  if (!d_scale) return;
  const double* total = sums.total().data();
  for (long g = 0; g < edges; ++g)
    d_scale[g] = static_cast<float>(std::accumulate(total + g * channels, total + (g + 1) * channels, 0.0));
}

// From dx, the gradient of the signs, and dy: d_normed, added to what is there; d_gain and d_bias [g][c] and
// through[c] = sum of dx * sign over pixels and edges, each where asked for.
void signs_backward(const float* dx, const float* dy, const float* normed, const float* gain, const float* bias,
                    const float* scale, float bound, long shortcut, float* d_normed, long first, float* d_gain,
                    float* d_bias, float* through, long pixels, long channels, long edges) {
  const Map map{pixels, edges * channels, true};
  const auto a = repeated(gain, map, 1.0f), b = repeated(bias, map, 0.0f);
  std::vector<float> factors(map.channels, shortcut ? 1.0f : 0.0f);
  for (long i = 0; shortcut && scale && i < map.channels; ++i) factors[i] = scale[i / channels];
  const auto f = repeated(factors.data(), map, 0.0f);
  Rows rows(normed, channels, edges, map);
  Sums masked(map), gains(map), biases(map);
  std::vector<float> inner(map.width());
  map.each([&](long pixel, long n) {
    const long at = pixel * map.channels;
    const float *x = rows.at(pixel, n), *d = dx + at, *carried = shortcut ? dy + at : d;
    const float *ga = a.data(), *bi = b.data(), *fa = f.data();
    float* __restrict own = inner.data();
    if (through) {
      float* __restrict sum = masked.part();
      for (long i = 0; i < n; ++i) sum[i] += d[i] * sign(x[i] * ga[i] + bi[i]);
      masked.next();
    }
    for (long i = 0; i < n; ++i) {
      const float inside = std::fabs(x[i] * ga[i] + bi[i]) <= bound ? d[i] : 0.0f;
      own[i] = inside + fa[i] * carried[i];
    }
    if (d_gain) {
      float *__restrict sg = gains.part(), *__restrict sb = biases.part();
      for (long i = 0; i < n; ++i) {
        sg[i] += own[i] * x[i];
        sb[i] += own[i];
      }
      gains.next();
      biases.next();
    }
    float* into = d_normed + pixel * channels;
    if (first) std::fill(into, into + n / edges, 0.0f);
    for (long i = 0; i < n; ++i) own[i] *= ga[i];
    const long run = edges == 1 ? n : channels;
    for (long i = 0; i < n; into += run)
      for (long g = 0; g < edges; ++g, i += run) add(own + i, 1.0f, into, run);
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

// Batch norm without affine part: out = (x - mean) * inverse, inverse = 1 / sqrt(variance + epsilon).
void norm(const float* x, float* out, float* mean, float* variance, float* inverse, float epsilon, long pixels,
          long channels) {
  const Map map{pixels, channels, true};
  // Relative to the first pixel, so that a mean that is large beside the deviation costs no digits.
  const auto origin = repeated(x, map, 0.0f);
  Sums first(map), second(map);
  map.each([&](long pixel, long n) {
    const float *from = x + pixel * channels, *o = origin.data();
    float *__restrict s = first.part(), *__restrict q = second.part();
    for (long i = 0; i < n; ++i) {
      const float d = from[i] - o[i];
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
    variance[c] = static_cast<float>(spread);
    inverse[c] = static_cast<float>(1.0 / std::sqrt(spread + epsilon));
  }
  const auto m = repeated(mean, map, 0.0f), v = repeated(inverse, map, 1.0f);
  map.each([&](long pixel, long n) {
    const float *from = x + pixel * channels, *mp = m.data(), *vp = v.data();
    float* __restrict to = out + pixel * channels;
    for (long i = 0; i < n; ++i) to[i] = (from[i] - mp[i]) * vp[i];
  });
}

// dx = inverse * (grad - mean(grad) - out * mean(grad * out)), from what `norm` wrote.
void norm_backward(const float* grad, const float* out, const float* inverse, float* dx, long pixels, long channels) {
  const Map map{pixels, channels, true};
  Sums first(map), second(map);
  map.each([&](long pixel, long n) {
    const float *g = grad + pixel * channels, *o = out + pixel * channels;
    float *__restrict s = first.part(), *__restrict q = second.part();
    for (long i = 0; i < n; ++i) {
      s[i] += g[i];
      q[i] += g[i] * o[i];
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
    const float *g = grad + pixel * channels, *o = out + pixel * channels;
    const float *vp = v.data(), *pp = p.data(), *ap = a.data();
    float* __restrict to = dx + pixel * channels;
    for (long i = 0; i < n; ++i) to[i] = vp[i] * (g[i] - pp[i] - o[i] * ap[i]);
  });
}

// totals[e] += scale[e] * x; without scale, each is 1.
void add_scaled(const float* x, float* const* totals, const float* scale, long edges, long size) {
  for (long from = 0; from < size; from += kBlock) {
    const long n = std::min(kBlock, size - from);
    for (long e = 0; e < edges; ++e) {
      const float *source = x + from, factor = scale ? scale[e] : 1.0f;
      float* __restrict total = totals[e] + from;
      for (long i = 0; i < n; ++i) total[i] += factor * source[i];
    }
  }
}

// dx = sum over e of scale[e] * grad[e]; d_scale[e] = sum of grad[e] * x, where asked for.
void add_scaled_backward(const float* const* grads, const long* step, const float* x, const float* scale, float* dx,
                         float* d_scale, long pixels, long channels, long edges) {
  for (long e = 0; e < edges; ++e) {
    const Map map{pixels, channels, step[e] == channels};
    const float factor = scale ? scale[e] : 1.0f;
    Sums sums(map);
    map.each([&](long pixel, long n) {
      const float* g = grads[e] + pixel * step[e];
      float* __restrict to = dx + pixel * channels;
      if (e == 0)
        for (long i = 0; i < n; ++i) to[i] = factor * g[i];
      else
        for (long i = 0; i < n; ++i) to[i] += factor * g[i];
      if (d_scale) {
        const float* from = x + pixel * channels;
        float* __restrict sum = sums.part();
        for (long i = 0; i < n; ++i) sum[i] += g[i] * from[i];
        sums.next();
      }
    });
    if (d_scale) d_scale[e] = static_cast<float>(sums.all());
  }
}

// out = x * mask, a factor per channel.
void masked(const float* x, const float* mask, float* out, long pixels, long channels) {
  const Map map{pixels, channels, true};
  const auto m = repeated(mask, map, 1.0f);
  map.each([&](long pixel, long n) {
    const float *from = x + pixel * channels, *factor = m.data();
    float* __restrict to = out + pixel * channels;
    for (long i = 0; i < n; ++i) to[i] = from[i] * factor[i];
  });
}

// dx = grad * mask; d_mask = sum of grad * x, where asked for.
void masked_backward(const float* grad, long step, const float* x, const float* mask, float* dx, float* d_mask,
                     long pixels, long channels) {
  const Map map{pixels, channels, step == channels};
  const auto m = repeated(mask, map, 1.0f);
  Sums sums(map);
  map.each([&](long pixel, long n) {
    const float *g = grad + pixel * step, *from = x + pixel * channels, *factor = m.data();
    float *__restrict to = dx + pixel * channels, *__restrict sum = sums.part();
    for (long i = 0; i < n; ++i) {
      to[i] = g[i] * factor[i];
      sum[i] += g[i] * from[i];
    }
    sums.next();
  });
  if (d_mask) sums.write(d_mask);
}

}  // extern "C"
