// Converts a camera's image to a model's input tensor, in one pass over the tensor.
//
// One thread computes one pixel of the tensor: it reads the source pixels around
// its position, converts each to red, green and blue, interpolates, rounds to
// 8 bits as the preprocessing on the CPU does, and looks up the tensor's values.
// image_kernel.py fills the structure; the source needs no header.

enum Storage { INTERLEAVED = 0, LUMA_CHROMA = 1 };
enum Interpolation { NEAREST = 0, LINEAR = 1, CUBIC = 2 };

struct Image {
    const unsigned char* bytes;   // the image in its encoding
    const unsigned char* table;   // [channels][256] elements of the tensor
    unsigned char* tensor;
    int step;                     // bytes of a row of the image
    int from_x, from_y, from_width, from_height;  // the used part of the image
    int to_x, to_y, to_width, to_height;          // its place in the tensor
    int width, height, channels;  // of the tensor
    int planar;                   // 1: NCHW; 0: NHWC
    int blue_first;
    int element_size;             // bytes of an element: 1, 2 or 4
    int pad_value;
    int interpolation;
    int storage;
    int pixel_bytes;              // from one pixel (or its luma) to the next
    int red, green, blue;         // INTERLEAVED: offsets in a pixel
    int luma, chroma_u, chroma_v; // LUMA_CHROMA: offsets in a pair of pixels
    int chroma_start;             // bytes to the first row of chroma
    int chroma_shift;             // a chroma row for each row (0) or two rows (1)
};

struct Color { float red, green, blue; };

__device__ static int clamp(int value, int low, int high)
{
    return value < low ? low : value > high ? high : value;
}

// ITU-R BT.601, video range, in 20 bits of fraction; what OpenCV computes.
__device__ static Color from_luma_chroma(int luma, int u, int v)
{
    const int half = 1 << 19;
    const int y = (luma > 16 ? luma - 16 : 0) * 1220542;
    u -= 128;
    v -= 128;
    Color color;
    color.red = clamp((y + half + 1673527 * v) >> 20, 0, 255);
    color.green = clamp((y + half - 852492 * v - 409993 * u) >> 20, 0, 255);
    color.blue = clamp((y + half + 2116026 * u) >> 20, 0, 255);
    return color;
}

// The pixel at x, y of the used part; outside of it the edge pixel.
__device__ static Color pixel_at(const Image& image, int x, int y)
{
    x = image.from_x + clamp(x, 0, image.from_width - 1);
    y = image.from_y + clamp(y, 0, image.from_height - 1);
    const long long row = (long long)y * image.step;
    const unsigned char* pixel = image.bytes + row + x * image.pixel_bytes;
    Color color;
    if (image.storage == INTERLEAVED) {
        color.red = pixel[image.red];
        color.green = pixel[image.green];
        color.blue = pixel[image.blue];
        return color;
    }
    const int luma = pixel[image.luma];
    if (image.channels == 1) {
        color.red = color.green = color.blue = luma;
        return color;
    }
    const long long chroma_row = (long long)(y >> image.chroma_shift) * image.step;
    const unsigned char* pair =
        image.bytes + image.chroma_start + chroma_row + (x & ~1) * image.pixel_bytes;
    return from_luma_chroma(luma, pair[image.chroma_u], pair[image.chroma_v]);
}

// A position between source pixels, with pixel centers at halves: the pixel before it, and the
// distance from that pixel. Integers, so it is exact.
__device__ static int place(int index, int from, int to, float* fraction)
{
    const int numerator = (2 * index + 1) * from - to;
    const int denominator = 2 * to;
    int before = numerator / denominator;
    int rest = numerator % denominator;
    if (rest < 0) {
        rest += denominator;
        before -= 1;
    }
    *fraction = (float)rest / (float)denominator;
    return before;
}

// The nearest pixel, with OpenCV's 16 fractional bits, so that both choose the same pixel.
__device__ static int nearest(int index, int from, int to)
{
    const int scale = ((from << 16) + to / 2) / to;
    return (scale * index + scale / 2 - from % 2) >> 16;
}

// Weights of the pixels -1, 0, 1 and 2 around a position.
__device__ static void weigh(int interpolation, float fraction, float weight[4])
{
    if (interpolation == LINEAR) {
        weight[0] = weight[3] = 0.0f;
        weight[1] = 1.0f - fraction;
        weight[2] = fraction;
        return;
    }
    // Keys' cubic convolution with a = -0.75.
    const float a = -0.75f;
    const float before = fraction + 1.0f, rest = 1.0f - fraction;
    weight[0] = ((a * before - 5.0f * a) * before + 8.0f * a) * before - 4.0f * a;
    weight[1] = ((a + 2.0f) * fraction - (a + 3.0f)) * fraction * fraction + 1.0f;
    weight[2] = ((a + 2.0f) * rest - (a + 3.0f)) * rest * rest + 1.0f;
    weight[3] = 1.0f - weight[0] - weight[1] - weight[2];
}

__device__ static float to_byte(float value)
{
    return (float)clamp((int)(value + 0.5f), 0, 255);
}

__device__ static Color resampled(const Image& image, int x, int y)
{
    float part_x, part_y, weight_x[4], weight_y[4];
    const int left = place(x, image.from_width, image.to_width, &part_x);
    const int top = place(y, image.from_height, image.to_height, &part_y);
    weigh(image.interpolation, part_x, weight_x);
    weigh(image.interpolation, part_y, weight_y);
    const int reach = image.interpolation == CUBIC ? 1 : 0;
    Color sum = {0.0f, 0.0f, 0.0f};
    for (int row = -reach; row <= 1 + reach; ++row) {
        for (int column = -reach; column <= 1 + reach; ++column) {
            const float weight = weight_y[row + 1] * weight_x[column + 1];
            const Color color = pixel_at(image, left + column, top + row);
            sum.red += weight * color.red;
            sum.green += weight * color.green;
            sum.blue += weight * color.blue;
        }
    }
    sum.red = to_byte(sum.red);
    sum.green = to_byte(sum.green);
    sum.blue = to_byte(sum.blue);
    return sum;
}

__device__ static Color seen_at(const Image& image, int x, int y)
{
    x -= image.to_x;
    y -= image.to_y;
    if (x < 0 || y < 0 || x >= image.to_width || y >= image.to_height) {
        const float pad = image.pad_value;
        const Color padding = {pad, pad, pad};
        return padding;
    }
    if (image.interpolation == NEAREST) {
        return pixel_at(image, nearest(x, image.from_width, image.to_width),
                        nearest(y, image.from_height, image.to_height));
    }
    return resampled(image, x, y);
}

__device__ static void store(const Image& image, int x, int y, int channel, int value)
{
    const int entry = channel * 256 + value;
    const long long pixel = (long long)y * image.width + x;
    const long long index = image.planar
        ? (long long)channel * image.height * image.width + pixel
        : pixel * image.channels + channel;
    if (image.element_size == 4) {
        ((unsigned int*)image.tensor)[index] = ((const unsigned int*)image.table)[entry];
    } else if (image.element_size == 2) {
        ((unsigned short*)image.tensor)[index] = ((const unsigned short*)image.table)[entry];
    } else {
        image.tensor[index] = image.table[entry];
    }
}

extern "C" __global__ void image_to_tensor(const Image image)
{
    const int x = blockIdx.x * blockDim.x + threadIdx.x;
    const int y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= image.width || y >= image.height) {
        return;
    }
    const Color color = seen_at(image, x, y);
    const int red = (int)color.red, green = (int)color.green, blue = (int)color.blue;
    if (image.channels == 1) {
        // ITU-R BT.601 in 15 bits of fraction.
        store(image, x, y, 0, (red * 9798 + green * 19235 + blue * 3735 + (1 << 14)) >> 15);
        return;
    }
    store(image, x, y, 0, image.blue_first ? blue : red);
    store(image, x, y, 1, green);
    store(image, x, y, 2, image.blue_first ? red : blue);
}
